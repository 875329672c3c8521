"""Fading: unit mean power, the right densities, a uniform phase, and block and fast as their names say."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from helpers import generator, random_frame
from openjscc.channels import Rayleigh, Rician, make_channel
from openjscc.errors import UsageError
from openjscc.testing import check_channel

SPECS = ("rayleigh:block", "rayleigh:fast", "rician:4", "rician:4:fast", "rician:0.3")
DRAWS = 8000


def gains(spec: str, count: int = DRAWS, seed: int = 1) -> torch.Tensor:
    """Independent gains ``(count,)``: one per frame."""
    drawn = make_channel(spec).draw(count, 1, generator(seed)).gain
    assert drawn is not None
    return drawn[:, 0]


def rician_envelope(k_factor: float):
    """Distribution of |h|: direct amplitude sqrt(K/(K+1)), scattered power 1/(K+1)."""
    sigma = math.sqrt(0.5 / (k_factor + 1))
    return stats.rice(math.sqrt(k_factor / (k_factor + 1)) / sigma, scale=sigma)


def p_value(samples: torch.Tensor, distribution) -> float:
    return float(stats.kstest(samples.double().numpy(), distribution.cdf).pvalue)


@pytest.mark.parametrize("spec", SPECS)
def test_conformance(spec: str):
    check_channel(spec)


@pytest.mark.parametrize("spec", SPECS)
def test_mean_power_is_one(spec: str):
    power = gains(spec).abs().square()
    assert power.mean().item() == pytest.approx(1.0, abs=5 * power.std().item() / math.sqrt(DRAWS))
    assert power.mean().item() == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("spec", SPECS)
def test_the_law_that_a_transmitter_knows(spec: str):
    """Equally likely values of |h|^2: mean exactly 1, and the quantiles of the density."""
    fading = make_channel(spec).fading
    assert fading is not None
    assert fading.per_symbol == spec.endswith("fast")
    power, k_factor = torch.tensor(fading.power, dtype=torch.float64), 0.0 if "rayleigh" in spec else float(spec.split(":")[1])
    assert power.mean().item() == pytest.approx(1.0, abs=1e-12)
    assert bool((power.diff() >= 0).all())
    below = rician_envelope(k_factor).cdf(power.sqrt().numpy())
    assert abs(below - (torch.arange(len(power)) + 0.5).numpy() / len(power)).max() < 0.005


@pytest.mark.parametrize("spec", ["rayleigh:block", "rayleigh:fast"])
def test_rayleigh_envelope(spec: str):
    envelope = gains(spec).abs()
    assert p_value(envelope, stats.rayleigh(scale=math.sqrt(0.5))) > 0.01
    assert p_value(envelope, stats.rayleigh(scale=1.0)) < 1e-6  # unit variance per dimension
    assert p_value(envelope, rician_envelope(1.0)) < 1e-6


@pytest.mark.parametrize("k_factor", [0.3, 4.0, 20.0])
@pytest.mark.parametrize("suffix", ["", ":fast"])
def test_rician_envelope(k_factor: float, suffix: str):
    envelope = gains(f"rician:{k_factor}{suffix}").abs()
    assert p_value(envelope, rician_envelope(k_factor)) > 0.01
    assert p_value(envelope, rician_envelope(10 ** (k_factor / 10))) < 1e-6  # the K-factor taken as dB


@pytest.mark.parametrize("spec", SPECS)
def test_phase_is_uniform(spec: str):
    phase = torch.angle(gains(spec)) / (2 * math.pi) + 0.5
    assert p_value(phase, stats.uniform) > 0.01


def test_block_gain_is_one_per_frame_and_fast_gain_one_per_symbol():
    block = Rayleigh().draw(3, 100, generator()).gain
    fast = Rayleigh(fast=True).draw(3, 4000, generator()).gain
    assert block is not None
    assert fast is not None
    assert block.shape == (3, 1)
    assert fast.shape == (3, 4000)
    assert p_value(fast[0].abs(), stats.rayleigh(scale=math.sqrt(0.5))) > 0.01
    assert (fast[0, :-1] * fast[0, 1:].conj()).mean().abs() < 0.06  # neighbours are independent


def test_fast_rician_keeps_its_direct_path_through_the_frame():
    fast = Rician(9.0, fast=True).draw(4, 20_000, generator()).gain
    assert fast is not None
    direct = fast.mean(1)
    assert torch.allclose(direct.abs(), torch.full((4,), math.sqrt(0.9)), atol=0.02)
    assert len(set(torch.angle(direct).tolist())) == 4


@pytest.mark.parametrize("spec", SPECS)
def test_gain_does_not_depend_on_the_number_of_symbols(spec: str):
    channel = make_channel(spec)
    short, long = channel.draw(1, 5, generator(2)), channel.draw(1, 777, generator(2))
    assert short.gain is not None
    assert long.gain is not None
    assert torch.equal(short.gain, long.gain[:, :5])
    assert torch.equal(short.noise, long.noise[:, :5])


@pytest.mark.parametrize("spec", SPECS)
def test_snr_is_the_average_one(spec: str):
    """The noise does not follow the gain: received energy over noise, averaged over the fading, is the SNR."""
    frame = random_frame([64] * 2000)
    channel = make_channel(spec)
    drawn = channel.draw(2000, 64, generator(3))
    received = channel.apply(frame, 10.0, drawn)
    assert drawn.gain is not None
    noise = received.symbols - drawn.gain * frame.symbols
    energy = (drawn.gain * frame.symbols).abs().square().mean()
    assert 10 * torch.log10(energy / noise.abs().square().mean()).item() == pytest.approx(10, abs=0.4)
    weak = drawn.gain.abs().square().mean(1) < 0.9
    assert noise[weak].abs().square().mean().item() == pytest.approx(0.1, rel=0.05)
    assert received.noise_var.tolist() == pytest.approx([0.1] * 2000)


def test_without_direct_path_rician_is_rayleigh():
    for fast in (False, True):
        a, b = Rician(0.0, fast).draw(2, 9, generator(4)), Rayleigh(fast).draw(2, 9, generator(4))
        assert a.gain is not None
        assert b.gain is not None
        assert torch.equal(a.gain, b.gain)
        assert torch.equal(a.noise, b.noise)


@pytest.mark.parametrize("k_factor", [-1.0, float("nan"), float("inf")])
def test_bad_k_factor(k_factor: float):
    with pytest.raises(UsageError, match="K-factor"):
        Rician(k_factor)


def test_extreme_k_factors_stay_finite():
    for k_factor in (1e-30, 1e30):
        gain = Rician(k_factor).draw(4, 2, generator()).gain
        assert gain is not None
        assert torch.isfinite(gain.abs()).all()
    assert Rician(1e30).draw(1, 1, generator()).gain.abs().item() == pytest.approx(1.0)  # pyright: ignore[reportOptionalMemberAccess]
