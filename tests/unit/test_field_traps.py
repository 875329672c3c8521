"""Mistakes that published code makes, each written out here and caught by the check that our own code passes.

A test that cannot fail proves nothing: every trap holds the wrong version against the same check as the right one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from helpers import PixelCodec, generator, measured_psnr, pictures, random_frame
from openjscc.channels import AWGN, Channel, Rayleigh, Realisation, make_channel
from openjscc.codec import Conditions, Frame, Received
from openjscc.digital import make_digital
from openjscc.link import transmit
from openjscc.power import mean_power, normalize_power
from openjscc.testing import CheckFailed, check_channel
from openjscc.units import noise_var_from_snr, snr_tensor


def unit(k: int, source: torch.Generator) -> torch.Tensor:
    """CN(0, 1) as our channels draw it, in a way that the wrong versions below share."""
    return AWGN().draw(1, k, source).noise[0]


def symbolwise_gain(k: int, source: torch.Generator, fading: Callable[[torch.Tensor], torch.Tensor]):
    """Noise and a gain per symbol that keep the prefix rule, so that only the trap itself can fail the check."""
    both = unit(2 * k, source).view(k, 2)
    return both[:, 1].contiguous(), fading(both[:, 0].contiguous())


class NoisePerRealDimension(AWGN):
    """Trap 1: variance sigma^2 in each real dimension, 3 dB too much for a complex symbol."""

    def _draw_one(self, k: int, generator: torch.Generator):
        noise, gain = super()._draw_one(k, generator)
        return noise * math.sqrt(2), gain


class ComplexRandnHalved(AWGN):
    """Trap 11: torch.randn of a complex type has variance 1 already; another sqrt(1/2) makes the channel 3 dB too good."""

    def _draw_one(self, k: int, generator: torch.Generator):
        rounded = math.ceil(k / 16) * 16
        return torch.randn(rounded, dtype=torch.complex64, generator=generator)[:k] * math.sqrt(0.5), None


class SnrFromTheBatch(AWGN):
    """Trap 4: noise scaled by the measured power of the batch, so that one loud image sets another's noise."""

    def apply(self, frame: Frame, snr_db, realisation: Realisation) -> Received:
        right = super().apply(frame, snr_db, realisation)
        power = frame.symbols.abs().square().mean().sqrt()
        return right.replace(symbols=frame.symbols + (right.symbols - frame.symbols) * power)


class SnrFromTheImage(AWGN):
    """Trap 4 per image: noise scaled by the measured power of the symbols."""

    def apply(self, frame: Frame, snr_db, realisation: Realisation) -> Received:
        right = super().apply(frame, snr_db, realisation)
        power = frame.symbols.abs().square().mean(1, keepdim=True).sqrt()
        return right.replace(symbols=frame.symbols + (right.symbols - frame.symbols) * power)


class SnrIgnored(AWGN):
    """Trap 4: the argument is taken and forgotten."""

    def apply(self, frame: Frame, snr_db, realisation: Realisation) -> Received:
        return super().apply(frame, 10.0, realisation)


class OneSnrForAll(AWGN):
    """Trap 4: the first image's SNR for the whole batch."""

    def apply(self, frame: Frame, snr_db, realisation: Realisation) -> Received:
        return super().apply(frame, float(torch.as_tensor(snr_db).flatten()[0]), realisation)


class EnvelopeOnly(AWGN):
    """Trap 5: |h| per symbol, without phase."""

    name = "envelope"

    def _draw_one(self, k: int, generator: torch.Generator):
        return symbolwise_gain(k, generator, lambda h: torch.complex(h.abs(), torch.zeros(k)))


class UnnormalisedFading(AWGN):
    """Trap 5: both parts of h with variance 1, E|h|^2 = 2."""

    name = "loud"

    def _draw_one(self, k: int, generator: torch.Generator):
        return symbolwise_gain(k, generator, lambda h: h * math.sqrt(2))


class HiddenGain(Rayleigh):
    """Trap 5: faded, and the receiver is not told."""

    def apply(self, frame: Frame, snr_db, realisation: Realisation) -> Received:
        return super().apply(frame, snr_db, realisation).replace(gain=None)


class DrawForTheBatch(AWGN):
    """Noise drawn for the whole batch at once: an image's noise depends on its place in it."""

    def draw(self, batch: int, k: int, generator) -> Realisation:
        source = generator if isinstance(generator, torch.Generator) else generator[0]
        return Realisation(unit(batch * k, source).view(batch, k))


class RealNoise(AWGN):
    """All of the variance in one real dimension."""

    def _draw_one(self, k: int, generator: torch.Generator):
        noise = super()._draw_one(k, generator)[0]
        return torch.complex(noise.real * math.sqrt(2), torch.zeros(k)), None


class NoiseAfterTheEnd(AWGN):
    """Noise where nothing is sent: the receiver would see it as symbols."""

    def apply(self, frame: Frame, snr_db, realisation: Realisation) -> Received:
        sigma = noise_var_from_snr(snr_tensor(snr_db, len(frame.length))).sqrt()[:, None]
        return super().apply(frame, snr_db, realisation).replace(symbols=frame.symbols + sigma * realisation.noise)


class Unrounded(AWGN):
    """torch.randn of the exact count: its last numbers depend on the count."""

    def _draw_one(self, k: int, generator: torch.Generator):
        return torch.view_as_complex(torch.randn(k, 2, generator=generator) * math.sqrt(0.5)), None


class Detached(AWGN):
    """No gradient to the transmitter."""

    def apply(self, frame: Frame, snr_db, realisation: Realisation) -> Received:
        right = super().apply(frame, snr_db, realisation)
        return right.replace(symbols=right.symbols.detach())


class AnyDraw(AWGN):
    """The global generator, whatever one is handed."""

    def _draw_one(self, k: int, generator: torch.Generator):
        return torch.view_as_complex(torch.randn(k, 2) * math.sqrt(0.5)), None


WRONG_CHANNELS = [
    (NoisePerRealDimension, r"asked for 0 dB, measured: -3\.0"),
    (ComplexRandnHalved, r"asked for 0 dB, measured: 3\.0"),
    (SnrFromTheBatch, "one image's power does not change another's result"),
    (SnrFromTheImage, "not the measured power of the symbols"),
    (SnrIgnored, "noise_var = 10"),
    (OneSnrForAll, "noise_var = 10"),
    (EnvelopeOnly, "with a phase"),
    (UnnormalisedFading, r"E\|h\|\^2 = 1: [12]\.[09]"),
    (HiddenGain, "asked for 0 dB|not the measured power"),
    (DrawForTheBatch, "does not depend on the batch"),
    (RealNoise, "circular"),
    (NoiseAfterTheEnd, "after the frame's length are zero"),
    (Unrounded, "the start of a longer one"),
    (Detached, "differentiable"),
    (AnyDraw, "the same seeds give the same draw"),
]


@pytest.mark.parametrize(("wrong", "rule"), WRONG_CHANNELS, ids=lambda value: getattr(value, "__name__", ""))
def test_wrong_channels_are_caught(wrong: type[Channel], rule: str):
    with pytest.raises(CheckFailed, match=rule):
        check_channel(wrong())


@pytest.mark.parametrize("spec", ["awgn", "rayleigh:block", "rayleigh:fast", "rician:4"])
def test_right_channels_pass_the_same_check(spec: str):
    check_channel(spec)


def noise_error_db(add_noise: Callable[[torch.Tensor, float], torch.Tensor]) -> float:
    frame = random_frame([2**17])
    noise = add_noise(frame.symbols, 10.0) - frame.symbols
    return abs(10 + 10 * math.log10(noise.abs().square().mean()))


def test_trap_1_power_per_dimension_against_noise_per_symbol():
    """Reals at unit power make complex symbols of energy 2; noise for energy 1 per real then measures 13 dB at 10 asked."""
    frame = random_frame([2**17])

    def ours(z: torch.Tensor, snr_db: float) -> torch.Tensor:
        return AWGN()(Frame(z, frame.length, frame.side), snr_db, generator(1)).symbols

    def ported(z: torch.Tensor, snr_db: float) -> torch.Tensor:
        sigma = 10 ** (-snr_db / 20)  # per real dimension
        return z + sigma * torch.view_as_complex(torch.randn(*z.shape, 2, generator=generator(1)))

    assert noise_error_db(ours) < 0.05
    assert noise_error_db(ported) == pytest.approx(3.01, abs=0.05)


def test_trap_2_power_over_the_batch():
    z = torch.view_as_complex(torch.randn(3, 500, 2, generator=generator(2))) * torch.tensor([[0.1], [1.0], [3.0]])
    length = torch.full((3,), 500)

    def worst_power(normalize: Callable[[torch.Tensor], torch.Tensor]) -> float:
        return float((mean_power(normalize(z), length) - 1).abs().max())

    assert worst_power(lambda value: normalize_power(value, length)) < 1e-4
    assert worst_power(lambda value: value / value.abs().square().mean().sqrt()) > 0.5


def test_trap_3_iq_pairs_across_the_batch():
    def reach(to_symbols: Callable[[torch.Tensor], torch.Tensor]) -> int:
        """How many images' symbols change when only the first image does."""
        x = pictures(4, 6, 6)
        other = torch.cat([1 - x[:1], x[1:]])
        changed = (to_symbols(x) != to_symbols(other)).flatten(1).any(1)
        return int(changed.sum())

    def halves_of_the_batch(values: torch.Tensor) -> torch.Tensor:
        real, imaginary = values.flatten().chunk(2)
        return torch.complex(real, imaginary).reshape(2, -1).repeat_interleave(2, dim=0)

    assert reach(lambda x: PixelCodec().encode(x, Conditions()).symbols) == 1
    assert reach(halves_of_the_batch) > 1


def test_trap_4_snr_argument_reaches_the_noise_of_each_image():
    """One batch at mixed SNRs gives each image exactly what it gets alone."""
    x = pictures(3)
    snr_db = [0.0, 10.0, 20.0]
    together = transmit(PixelCodec(), "awgn", x, snr_db).image
    assert together is not None
    for index, value in enumerate(snr_db):
        alone = transmit(PixelCodec(), "awgn", x[index], value).image
        assert alone is not None
        assert torch.allclose(alone[0], together[index], atol=1e-6)
    quality = measured_psnr(x, together)
    assert quality[2] > quality[1] > quality[0]


def test_trap_5_block_and_fast_fading_are_not_confused():
    """Gain changes within a frame for fast only; with the phase taken away, plain symbols would survive unequalised."""
    frame = random_frame([400] * 3)
    for spec, gains_per_frame in (("rayleigh:block", 1), ("rayleigh:fast", 400)):
        received = make_channel(spec)(frame, 100.0, generator(3))
        seen = received.symbols / frame.symbols
        rounded = {(round(value.real, 3), round(value.imag, 3)) for value in seen[0].tolist()}
        assert len(rounded) > 0.9 * gains_per_frame
        assert len(rounded) <= max(4, gains_per_frame)
        assert (seen.real < 0).any() or (seen.imag.abs() > 0.01).any()


def test_trap_6_side_information_is_not_free():
    """Whatever the decoder needs beyond the symbols is in the header, and the header is in the length."""

    class FreeSide(PixelCodec):
        def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
            frame = super().encode(x, conditions)
            head = self.header.uses(frame.side.height, frame.side.width)
            return Frame(frame.symbols[:, head:], frame.length - head, frame.side)

    def unpaid(codec: PixelCodec) -> int:
        x = pictures(2, 6, 6)
        frame = codec.encode(x, Conditions())
        counted = frame.bandwidth_ratio[0].item() * x[0].numel()
        return round(x[0].numel() / 2 + 1 + codec.header.uses(6, 6) - counted)  # 1: the symbol that takes up the power

    assert unpaid(PixelCodec()) == 0
    assert unpaid(FreeSide()) == 124
    for codec, arrives in ((PixelCodec(), True), (FreeSide(), False)):
        result = transmit(codec, "awgn", pictures(2), 30.0).reconstruction
        assert result.ok is not None
        assert result.ok.tolist() == [arrives] * 2


def test_trap_9_a_digital_link_pays_for_every_bit():
    """Each picture is a file of its own; header, CRC and padding are in the length; what does not fit is lost, not replaced."""
    x = torch.rand(4, 3, 32, 32, generator=generator(6))
    codec = make_digital("jpeg-ldpc:mcs=16qam-3/4-n1944")
    frame = codec.encode(x, Conditions(ratio=1 / 6))
    assert frame.length.tolist() == [512 + 20] * 4
    assert frame.genie is None
    alone = codec.encode(x[2:3], Conditions(ratio=1 / 6))
    assert torch.equal(alone.symbols[0], frame.symbols[2])
    noise = codec.decode(make_channel("awgn")(frame, -20.0, generator(7)))
    assert noise.ok is not None
    assert not noise.ok.any()


def test_trap_10_a_fixed_scheme_below_its_threshold_is_not_the_baseline():
    """(1458,1944) with 16-QAM cannot work at 5 dB; the envelope and the bound can, and the bound is above both."""
    x = pictures(1, 96, 96)
    psnr, ok = {}, {}
    for name in ("jpeg-ldpc:mcs=16qam-3/4-n1944", "jpeg-ldpc", "jpeg-capacity"):
        result = transmit(make_digital(name), "awgn", x, 5.0, ratio=1 / 16)
        assert result.image is not None
        assert result.reconstruction.ok is not None
        ok[name], psnr[name] = bool(result.reconstruction.ok), measured_psnr(x, result.image).item()
    assert list(ok.values()) == [False, True, True]
    assert list(psnr.values()) == sorted(psnr.values())


def test_trap_11_complex_randn_has_variance_one_already():
    """If torch changes this, `ComplexRandnHalved` above is no longer the mistake that it shows."""
    assert torch.randn(2**17, dtype=torch.complex64, generator=generator(4)).abs().square().mean().item() == pytest.approx(
        1, abs=0.02
    )
