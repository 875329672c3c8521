"""Modulation against closed forms: bit error rates, log-likelihood ratios by brute force, mutual information."""

import itertools
import math

import numpy as np
import pytest
import torch

from helpers import generator
from openjscc.digital.modulation import MODULATIONS, Modulation, get_modulation
from openjscc.errors import UsageError

ALL = list(MODULATIONS.values())
BITS = 480_000


def named(modulation: Modulation) -> str:
    return modulation.name


def random_bits(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 2, (count,), dtype=torch.uint8, generator=generator(seed))


def noise(shape: tuple[int, ...], seed: int = 1) -> torch.Tensor:
    return torch.view_as_complex(torch.randn(*shape, 2, generator=generator(seed)) / math.sqrt(2))


def bit_error_rate(order: int, snr: float) -> float:
    """Gray square QAM on AWGN at Es/N0 (Cho and Yoon, IEEE Trans. Commun. 50(7), 2002, eq. (14) and (16))."""
    side = math.isqrt(order)
    total = 0.0
    for k in range(1, int(math.log2(side)) + 1):
        for i in range(int((1 - 2.0**-k) * side)):
            sign = (-1) ** math.floor(i * 2 ** (k - 1) / side)
            weight = 2 ** (k - 1) - math.floor(i * 2 ** (k - 1) / side + 0.5)
            total += sign * weight * math.erfc((2 * i + 1) * math.sqrt(3 * snr / (2 * (order - 1)))) / side
    return total / math.log2(side)


@pytest.mark.parametrize("modulation", ALL, ids=named)
def test_points_have_unit_mean_energy_and_gray_labels(modulation: Modulation) -> None:
    points = modulation.points
    assert len(set(points.tolist())) == 2**modulation.bits_per_symbol
    assert points.abs().double().square().mean().item() == pytest.approx(1.0, abs=1e-6)
    distance = (points[:, None] - points).abs().fill_diagonal_(math.inf)
    nearest = (distance < 1.01 * distance.min()).nonzero().tolist()
    assert all(bin(one ^ two).count("1") == 1 for one, two in nearest)


def test_labels_are_those_of_the_standard() -> None:
    # TS 38.211, 5.1.4: 16QAM, (1-2b0)(2-(1-2b2)) and (1-2b1)(2-(1-2b3)), over sqrt(10)
    for bits in itertools.product((0, 1), repeat=4):
        expected = complex((1 - 2 * bits[0]) * (1 + 2 * bits[2]), (1 - 2 * bits[1]) * (1 + 2 * bits[3])) / math.sqrt(10)
        sent = get_modulation("16qam").map(torch.tensor(bits, dtype=torch.uint8))
        assert sent[0].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("snr_db", [0.0, 6.0, 12.0])
@pytest.mark.parametrize("modulation", ALL, ids=named)
def test_uncoded_bit_error_rate(modulation: Modulation, snr_db: float) -> None:
    snr = 10 ** (snr_db / 10)
    if modulation.name == "bpsk":
        expected = 0.5 * math.erfc(math.sqrt(snr))
    else:
        expected = bit_error_rate(2**modulation.bits_per_symbol, snr)
    bits = random_bits(BITS)
    symbols = modulation.map(bits)
    received = symbols + noise(symbols.shape) / math.sqrt(snr)
    measured = ((modulation.llr(received, 1 / snr, method="max-log") < 0) != bits.bool()).double().mean().item()
    tolerance = 5 * math.sqrt(expected * (1 - expected) * modulation.bits_per_symbol / BITS) + 2 / BITS
    assert measured == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("method", ["exact", "max-log"])
@pytest.mark.parametrize("modulation", ALL, ids=named)
def test_llrs_against_all_points(modulation: Modulation, method: str) -> None:
    symbols = noise((50,), seed=2)
    gain, noise_var = noise((50,), seed=3), torch.rand(50, generator=generator(4)) + 0.05
    points = modulation.points.to(torch.complex128)
    metric = -(symbols[:, None] - gain[:, None] * points).abs().square() / noise_var[:, None]
    labels = torch.arange(len(points))
    expected = []
    for shift in reversed(range(modulation.bits_per_symbol)):
        one = (labels >> shift) & 1 == 1
        zeros, ones = metric[:, ~one], metric[:, one]
        best = (zeros.logsumexp(1) - ones.logsumexp(1)) if method == "exact" else (zeros.amax(1) - ones.amax(1))
        expected.append(best)
    measured = modulation.llr(symbols, noise_var, gain, method).unflatten(0, (50, -1))
    torch.testing.assert_close(measured.double(), torch.stack(expected, 1).double(), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("modulation", ALL, ids=named)
def test_mutual_information_against_monte_carlo(modulation: Modulation) -> None:
    """I = sum over bits of 1 - E log2(1 + exp(-L)), L the LLR in favour of the bit that was sent."""
    snr_db = 8.0
    bits = random_bits(BITS, seed=5)
    symbols = modulation.map(bits)
    noise_var = 10 ** (-snr_db / 10)
    llr = modulation.llr(symbols + noise(symbols.shape, seed=6) * math.sqrt(noise_var), noise_var).double()
    loss = torch.nn.functional.softplus(-llr * (1 - 2 * bits.double())).mean().item() / math.log(2)
    expected = modulation.bits_per_symbol * (1 - loss)
    assert float(modulation.mutual_information(snr_db)) == pytest.approx(expected, abs=0.01)


def test_mutual_information_stays_below_capacity_and_rises() -> None:
    snr_db = np.arange(-20.0, 40.0, 1.0)
    for modulation in ALL:
        information = modulation.mutual_information(snr_db)
        assert (information < np.log2(1 + 10 ** (snr_db / 10)) + 1e-9).all()
        assert (np.diff(information) > -1e-9).all()
        assert information[-1] == pytest.approx(modulation.bits_per_symbol, abs=1e-3)


def test_bad_input() -> None:
    with pytest.raises(UsageError, match="16qam"):
        get_modulation("16qm")
    with pytest.raises(UsageError, match="3 bits"):
        get_modulation("16qam").map(torch.zeros(3, dtype=torch.uint8))
    with pytest.raises(UsageError, match="demapper"):
        get_modulation("qpsk").llr(torch.zeros(1, dtype=torch.complex64), 1.0, method="soft")


def test_a_gain_of_zero_says_nothing() -> None:
    llr = get_modulation("16qam").llr(torch.ones(3, dtype=torch.complex64), 0.1, torch.zeros(3, dtype=torch.complex64))
    assert llr.abs().max().item() < 1e-6


def test_memory_is_bounded_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.digital import modulation

    scheme = get_modulation("64qam")
    symbols = noise((2, 700), seed=7)
    whole = scheme.llr(symbols, 0.1)
    monkeypatch.setattr(modulation, "CHUNK", 64)
    assert torch.equal(scheme.llr(symbols, 0.1), whole)
