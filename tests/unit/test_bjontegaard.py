"""Bjøntegaard's measures: shifts of known size, closed forms, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

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
