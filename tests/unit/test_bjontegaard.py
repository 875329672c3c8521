"""Bjøntegaard's measures: shifts of known size, an independent implementation, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from openjscc.bench.bjontegaard import bd_quality, bd_rate
from openjscc.errors import UsageError

RATE = np.array([0.07, 0.16, 0.35, 0.68, 1.2, 1.93, 3.06, 4.7])
QUALITY = np.array([26.2, 28.7, 31.6, 34.9, 38.3, 41.5, 44.7, 47.6])


@pytest.mark.parametrize("percent", [-50.0, -3.0, 0.0, 0.5, 120.0])
def test_rates_scaled_by_a_factor_give_that_factor(percent: float) -> None:
    assert bd_rate(RATE, QUALITY, RATE * (1 + percent / 100), QUALITY) == pytest.approx(percent, abs=1e-9)


@pytest.mark.parametrize("shift", [-2.0, 0.0, 0.1, 5.0])
def test_a_shifted_quality_gives_the_shift(shift: float) -> None:
    assert bd_quality(RATE, QUALITY, RATE, QUALITY + shift) == pytest.approx(shift, abs=1e-9)


def test_on_lines_both_have_a_closed_form() -> None:
    """Quality a + b ln(rate): the piecewise cubic is the line itself, whatever the points and the overlap."""
    first, second = np.geomspace(0.1, 5, 6), np.geomspace(0.3, 9, 9)
    quality_a, quality_b = 30 + 4 * np.log(first), 31 + 4 * np.log(second)
    assert bd_quality(first, quality_a, second, quality_b) == pytest.approx(1.0)
    assert bd_rate(first, quality_a, second, quality_b) == pytest.approx(100 * (np.exp(-0.25) - 1))


@pytest.mark.parametrize("seed", range(10))
def test_against_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rate_a, rate_b = (np.cumsum(rng.uniform(0.05, 1, count)) for count in (4, 9))
    quality_a, quality_b = (25 + np.cumsum(rng.uniform(0.1, 5, count)) for count in (4, 9))

    def mean_difference(xa: np.ndarray, ya: np.ndarray, xb: np.ndarray, yb: np.ndarray) -> float:
        low, high = max(xa[0], xb[0]), min(xa[-1], xb[-1])
        integrals = [PchipInterpolator(x, y).integrate(low, high) for x, y in ((xa, ya), (xb, yb))]
        return (integrals[1] - integrals[0]) / (high - low)

    logs = np.log(rate_a), np.log(rate_b)
    expected = mean_difference(logs[0], quality_a, logs[1], quality_b)
    assert bd_quality(rate_a, quality_a, rate_b, quality_b) == pytest.approx(expected, abs=1e-9)
    expected = mean_difference(quality_a, logs[0], quality_b, logs[1])
    assert bd_rate(rate_a, quality_a, rate_b, quality_b) == pytest.approx(100 * np.expm1(expected), abs=1e-7)


def test_order_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(len(RATE))
    expected = bd_rate(RATE, QUALITY, RATE**1.1, QUALITY)
    assert bd_rate(RATE[order].tolist(), QUALITY[order].tolist(), RATE**1.1, QUALITY) == expected


@pytest.mark.parametrize(
    ("rate", "quality", "words"),
    [
        (RATE[:3], QUALITY[:3], "3 points"),
        (RATE[:5], QUALITY[:4], "5 rates and 4 qualities"),
        (RATE - 0.07, QUALITY, "not positive"),
        (RATE, np.where(QUALITY > 47, np.inf, QUALITY), "not finite"),
        (RATE, QUALITY[::-1], "does not rise"),
        (RATE.round(0), QUALITY, "not positive"),
        (np.array([1.0, 1.0, 2.0, 3.0]), QUALITY[:4], "does not rise"),
    ],
)
def test_curves_that_are_refused(rate: np.ndarray, quality: np.ndarray, words: str) -> None:
    for measure in (bd_rate, bd_quality):
        with pytest.raises(UsageError, match=words):
            measure(RATE, QUALITY, rate, quality)


def test_curves_without_overlap_are_refused() -> None:
    with pytest.raises(UsageError, match="no qualities in common"):
        bd_rate(RATE, QUALITY, RATE, QUALITY + 30)
    with pytest.raises(UsageError, match="no rates in common"):
        bd_quality(RATE, QUALITY, RATE * 1000, QUALITY)
