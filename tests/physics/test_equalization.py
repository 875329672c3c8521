"""Equalisers: what they leave is what they say, a noiseless frame comes back, and nothing divides by zero."""

from __future__ import annotations

import pytest
import torch

from helpers import PixelCodec, generator, pictures, random_frame
from openjscc.channels import AWGN, EQUALIZERS, Rayleigh, Rician, equalize, make_channel
from openjscc.codec import Conditions, Received
from openjscc.errors import UsageError
from openjscc.link import transmit


def identity_error(equalizer) -> float:
    """Largest error of uncoded pictures after block Rayleigh fading without noise to speak of."""
    codec, x = PixelCodec(), pictures(8)
    frame = codec.encode(x, Conditions())
    image = codec.decode_payload(equalizer(Rayleigh()(frame, 100.0, generator(1))), frame.side).image  # header or not
    assert image is not None
    return float((image - x).abs().max())


def test_zero_forcing_undoes_block_rayleigh():
    assert identity_error(lambda received: equalize(received, "zf")) < 1e-4


def test_the_identity_check_rejects_wrong_equalisers():
    def amplitude_only(received: Received) -> Received:
        assert received.gain is not None
        return received.replace(symbols=received.symbols / received.gain.abs(), gain=None)

    def not_conjugated(received: Received) -> Received:
        assert received.gain is not None
        return received.replace(symbols=received.symbols * received.gain / received.gain.abs().square(), gain=None)

    for wrong in (lambda received: received, amplitude_only, not_conjugated):
        assert identity_error(wrong) > 0.1


def test_identity_holds_through_the_link():
    x = pictures(4)
    for channel in ("rayleigh:block", "rayleigh:fast", "rician:4", "rician:4:fast"):
        image = transmit(PixelCodec(), channel, x, 100.0, equalizer="zf").image
        assert image is not None
        assert torch.allclose(image, x, atol=1e-2 if channel.endswith("fast") else 1e-3)


@pytest.mark.parametrize("spec", ["rayleigh:block", "rician:4"])
def test_mmse_is_zero_forcing_for_one_gain_a_frame(spec: str):
    received = make_channel(spec)(random_frame([50, 31, 7]), [0.0, 10.0, 20.0], generator(2))
    zf, mmse = equalize(received, "zf"), equalize(received, "mmse")
    assert torch.allclose(zf.symbols, mmse.symbols, rtol=1e-5, atol=1e-6)
    assert torch.allclose(zf.noise_var, mmse.noise_var, rtol=1e-5)
    assert zf.gain is None
    assert mmse.gain is None


@pytest.mark.parametrize("method", sorted(EQUALIZERS))
@pytest.mark.parametrize("spec", ["rayleigh:block", "rayleigh:fast", "rician:4:fast"])
def test_noise_variance_is_the_mean_squared_error_that_is_left(method: str, spec: str):
    frames = 1500
    frame = random_frame([64] * frames)
    channel = make_channel(spec)
    received = equalize(channel(frame, 8.0, generator(3)), method)
    assert received.noise_var.shape == ((frames, 64) if "fast" in spec else (frames,))
    left = received.noise_var if received.noise_var.ndim == 2 else received.noise_var[:, None].expand(-1, 64)
    ratio = (received.symbols - frame.symbols).abs().square() / left
    assert ratio.mean().item() == pytest.approx(1.0, abs=0.02)
    strong = left < left.median()  # holds for strong and weak symbols apart
    assert ratio[strong].mean().item() == pytest.approx(1.0, abs=0.03)


def test_mmse_is_unbiased_over_the_sent_symbols_of_a_frame():
    frame = random_frame([200, 60])
    received = Rayleigh(fast=True)(frame, 3.0, generator(4))
    assert received.gain is not None
    through = received.replace(symbols=received.gain.clone())  # the gain of the whole way: what z = 1 becomes without noise
    total = equalize(through, "mmse").symbols
    for row, length in zip(total, (200, 60), strict=True):
        assert row[:length].mean().real.item() == pytest.approx(1.0, abs=1e-5)
        assert row.imag.abs().max() < 1e-5


def test_mmse_has_less_error_than_zero_forcing_under_fast_fading():
    frame = random_frame([5000])
    received = Rayleigh(fast=True)(frame, 5.0, generator(5))
    errors = {method: (equalize(received, method).symbols - frame.symbols).abs().square().mean().item() for method in EQUALIZERS}
    assert errors["mmse"] < 0.5 * errors["zf"]


@pytest.mark.parametrize("method", sorted(EQUALIZERS))
@pytest.mark.parametrize("snr_db", [-100.0, 0.0, 100.0])
@pytest.mark.parametrize("fast", [False, True])
def test_gain_of_zero_gives_no_nan(method: str, snr_db: float, fast: bool):
    frame = random_frame([6, 4])
    received = Rayleigh(fast)(frame, snr_db, generator(6))
    assert received.gain is not None
    for dead in (torch.zeros_like(received.gain), received.gain * (torch.arange(received.gain.shape[1]) > 0)):
        equalised = equalize(received.replace(gain=dead), method)
        assert torch.isfinite(torch.view_as_real(equalised.symbols)).all()
        assert torch.isfinite(equalised.noise_var).all()
        assert (equalised.noise_var >= 0).all()
        assert equalised.symbols.dtype == torch.complex64
        assert equalised.noise_var.dtype == torch.float32
        assert not equalised.symbols[:, 0].any()
        assert not equalised.symbols[1, 4:].any()


def test_no_gain_is_left_alone():
    received = AWGN()(random_frame([6, 4]), 5.0, generator(7))
    assert equalize(received, "zf") is received
    assert equalize(received, "mmse") is received


def test_differentiable_in_the_symbols():
    frame = random_frame([16])
    received = Rician(2.0, fast=True)(frame, 5.0, generator(8))
    symbols = received.symbols.clone().requires_grad_()
    equalize(received.replace(symbols=symbols), "mmse").symbols.abs().square().sum().backward()
    assert symbols.grad is not None
    assert torch.isfinite(torch.view_as_real(symbols.grad)).all()


def test_unknown_method_is_named_even_without_a_gain():
    received = AWGN()(random_frame([6]), 5.0, generator(9))
    with pytest.raises(UsageError, match="unknown equalizer 'mms'") as caught:
        equalize(received, "mms")
    assert "mmse" in caught.value.hint
