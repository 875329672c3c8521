"""White noise: the asked SNR is the measured one, and an uncoded picture arrives with the PSNR of the closed form."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from helpers import PixelCodec, generator, measured_psnr, pictures, random_frame
from openjscc.channels import AWGN, make_channel
from openjscc.errors import UsageError
from openjscc.link import transmit
from openjscc.power import mean_power
from openjscc.testing import check_channel

K = 2**18


def measured_snr_db(sent: torch.Tensor, received: torch.Tensor) -> torch.Tensor:
    """Es/N0 per image, from the measured energy of the symbols and of what was added to them."""
    signal = sent.abs().double().square().mean(1)
    return 10 * torch.log10(signal / (received - sent).abs().double().square().mean(1))


def test_conformance():
    check_channel("awgn")


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 25.0])
def test_measured_snr_is_the_asked_one(snr_db: float):
    frame = random_frame([K])
    received = AWGN()(frame, snr_db, generator(3))
    assert measured_snr_db(frame.symbols, received.symbols).item() == pytest.approx(snr_db, abs=0.05)


def test_measured_snr_per_image():
    asked = torch.tensor([0.0, 7.0, 20.0])
    frame = random_frame([K // 2] * 3)
    received = AWGN()(frame, asked, generator(4))
    assert torch.allclose(measured_snr_db(frame.symbols, received.symbols), asked.double(), atol=0.05)
    assert torch.allclose(received.noise_var, torch.tensor([1.0, 10**-0.7, 0.01]))


def test_snr_holds_for_a_frame_that_is_partly_sent():
    frame = random_frame([K, K // 2])
    received = AWGN()(frame, 10.0, generator(5))
    noise = (received.symbols - frame.symbols)[1, : K // 2]
    assert torch.allclose(mean_power(frame.symbols, frame.length), torch.ones(2), atol=1e-4)
    assert 10 * torch.log10(noise.abs().square().mean()).item() == pytest.approx(-10, abs=0.05)
    assert not received.symbols[1, K // 2 :].any()


def test_noise_is_gaussian_with_half_the_variance_in_each_dimension():
    noise = AWGN().draw(1, 20_000, generator(6)).noise[0]
    for part in (noise.real, noise.imag):
        assert stats.kstest(part.numpy(), stats.norm(scale=0.5**0.5).cdf).pvalue > 0.01
        assert stats.kstest(part.numpy(), stats.norm(scale=1.0).cdf).pvalue < 1e-6  # unit variance per dimension: 3 dB off


def test_noise_of_two_images_is_independent():
    noise = AWGN().draw(4, K // 4, generator(7)).noise
    correlation = (noise @ noise.mH / noise.shape[1]).abs()
    assert torch.allclose(correlation, torch.eye(4), atol=0.02)


def test_noise_does_not_depend_on_the_batch_size():
    together = AWGN().draw(5, 1000, [generator(seed) for seed in range(5)])
    for seed in range(5):
        assert torch.equal(AWGN().draw(1, 1000, generator(seed)).noise[0], together.noise[seed])


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_uncoded_picture_has_the_psnr_of_the_closed_form(snr_db: float):
    codec, x = PixelCodec(), pictures(3, 192, 192)
    image = transmit(codec, "awgn", x, snr_db).image
    assert image is not None
    expected = codec.psnr(x, 10 ** (-snr_db / 10))
    assert expected.max() - expected.min() > 1  # pictures of different power: the closed form is one per picture
    assert torch.allclose(measured_psnr(x, image).float(), expected, atol=0.05)
    # Twice the noise, as from mixing real dimensions with complex symbols, would be seen.
    assert not torch.allclose(measured_psnr(x, image).float(), codec.psnr(x, 2 * 10 ** (-snr_db / 10)), atol=1.0)


def test_closed_form_holds_with_an_snr_per_image():
    codec, x = PixelCodec(), pictures(3, 192, 192)
    snr_db = torch.tensor([0.0, 10.0, 20.0])
    image = transmit(codec, "awgn", x, snr_db).image
    assert image is not None
    assert torch.allclose(measured_psnr(x, image).float(), codec.psnr(x, 10 ** (-snr_db / 10)), atol=0.05)


def test_errors():
    frame = random_frame([8, 8])
    with pytest.raises(UsageError, match="finite"):
        AWGN()(frame, float("nan"), generator())
    with pytest.raises(UsageError, match="2 images"):
        AWGN()(frame, [1.0, 2.0, 3.0], generator())
    with pytest.raises(UsageError, match="3 generators for 2 frames"):
        AWGN()(frame, 10.0, [generator()] * 3)
    with pytest.raises(UsageError, match="a draw of 2 x 7"):
        AWGN().apply(frame, 10.0, AWGN().draw(2, 7, generator()))
    with pytest.raises(UsageError, match="at least 1"):
        AWGN().draw(0, 4, generator())


def test_a_longer_draw_serves_a_shorter_frame():
    frame = random_frame([8, 8])
    seeds = [generator(1), generator(2)]
    long = AWGN().apply(frame, 10.0, AWGN().draw(2, 50, seeds))
    assert torch.equal(long.symbols, AWGN()(frame, 10.0, [generator(1), generator(2)]).symbols)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("awng", "did you mean awgn"),
        ("rayliegh:block", "did you mean rayleigh:block"),
        ("rayleigh", "rayleigh:block (one gain a frame) or rayleigh:fast (one gain a symbol)"),
        ("rayleigh:", "rayleigh:block"),
        ("rayleigh:slow", "rayleigh:block"),
        ("rayleigh:block:2", "rayleigh:block"),
        ("rician", "rician:K"),
        ("rician:-1", "rician:K"),
        ("rician:nan", "rician:K"),
        ("rician:inf", "rician:K"),
        ("rician:fast", "rician:K"),
        ("rician:4:slow", "rician:4:fast"),
        ("awgn:10", "the SNR is given apart"),
        ("tdl", "known: awgn, rayleigh:block, rayleigh:fast, rician:K, rician:K:fast"),
        ("", "known: awgn"),
    ],
)
def test_bad_specs_say_what_to_write(spec: str, hint: str):
    with pytest.raises(UsageError) as caught:
        make_channel(spec)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("awgn", "awgn"),
        (" AWGN ", "awgn"),
        ("Rayleigh:Block", "rayleigh:block"),
        ("rayleigh: fast", "rayleigh:fast"),
        ("rician:4.0", "rician:4"),
        ("rician:4:block", "rician:4"),
        ("rician:0.5:fast", "rician:0.5:fast"),
        ("rician:1e3", "rician:1000"),
        ("rician:0", "rician:0"),
    ],
)
def test_specs_have_one_canonical_name(spec: str, name: str):
    channel = make_channel(spec)
    assert channel.name == name
    assert make_channel(channel) is channel
    assert make_channel(channel.name).name == name
    assert name in repr(channel)
