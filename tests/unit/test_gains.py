"""Gains at equal quality against closed forms, and intervals that hold their promise."""

from __future__ import annotations

import numpy as np
import pytest

from openjscc.bench.gains import FEWEST_PICTURES, QualityCurve, bandwidth_gain, monotone, snr_gain
from openjscc.errors import UsageError

SNR = np.arange(0.0, 21.0, 2.0)
RATIO = np.array([1 / 48, 1 / 24, 1 / 16, 1 / 12, 1 / 6])


def saturating(snr: np.ndarray) -> np.ndarray:
    return 35 - 12 * np.exp(-snr / 8)


@pytest.mark.parametrize("shift", [-3.0, 0.0, 0.7, 4.0])
def test_a_curve_shifted_by_some_db_gives_them(shift: float) -> None:
    a, b = QualityCurve(SNR - shift, saturating(SNR)), QualityCurve(SNR, saturating(SNR))
    for at in (5.0, 8.0, 11.5):
        gain = snr_gain(a, b, at)
        assert gain.value == pytest.approx(shift, abs=1e-9)
        assert gain.quality == pytest.approx(saturating(np.array(at)), abs=0.02)
        assert (gain.low, gain.high) == (None, None)
        assert "not given" in gain.reason


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_a_bandwidth_factor_is_found(factor: float) -> None:
    a, b = QualityCurve(RATIO / factor, 30 + 5 * np.log(RATIO)), QualityCurve(RATIO, 30 + 5 * np.log(RATIO))
    assert bandwidth_gain(a, b, 1 / 16).value == pytest.approx(factor)
    with pytest.raises(UsageError, match="positive"):
        bandwidth_gain(a, b, 0.0)


def test_lines_with_other_points() -> None:
    """Quality 20 + x against 22.5 + x: A needs 2.5 dB less wherever both are measured."""
    a, b = QualityCurve(np.array([3.0, -1.0, 9.0]), np.array([25.5, 21.5, 31.5])), QualityCurve(SNR, 20 + SNR)
    assert snr_gain(a, b, 5.3).value == pytest.approx(2.5)


def test_where_lower_is_better() -> None:
    a, b = QualityCurve(SNR - 2, 1 / (1 + np.exp(SNR / 5))), QualityCurve(SNR, 1 / (1 + np.exp(SNR / 5)))
    gain = snr_gain(a, b, 8.0, higher_is_better=False)
    assert gain.value == pytest.approx(2.0)
    assert gain.quality == pytest.approx(1 / (1 + np.exp(8 / 5)))


def test_outside_the_overlap_there_is_a_reason() -> None:
    low, high = QualityCurve(SNR, 20 + SNR / 2), QualityCurve(SNR, 28 + SNR / 2)
    better, worse, outside = snr_gain(low, high, 10.0), snr_gain(high, low, 10.0), snr_gain(low, high, 21.0)
    assert better.value is worse.value is outside.value is None
    assert "better than all" in better.reason
    assert "20 dB" in better.reason
    assert "worse than all" in worse.reason
    assert outside.reason == "B was measured from 0 dB to 20 dB, not at 21 dB"


def test_a_cliff_and_a_plateau() -> None:
    """On a flat piece the least SNR counts; a fall by noise is evened out."""
    cliff = QualityCurve(np.array([0.0, 2.0, 4.0, 6.0, 8.0]), np.array([10.0, 10.0, 30.0, 30.0, 30.0]))
    line = QualityCurve(np.array([0.0, 10.0]), np.array([10.0, 30.0]))
    assert snr_gain(cliff, line, 10.0).value == pytest.approx(6.0)
    assert snr_gain(line, cliff, 8.0).value == pytest.approx(-2.0)
    assert snr_gain(line, cliff, 1.0).value == pytest.approx(1.0)


def test_monotone_rows_against_pooling() -> None:
    rows = np.array([[1.0, 3.0, 2.0, 2.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    third = 7 / 3
    expected = np.array([[1.0, third, third, third, 5.0], [3.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]])
    assert monotone(rows) == pytest.approx(expected)


def pictures(rng: np.random.Generator, shift: float, count: int = 24) -> tuple[QualityCurve, QualityCurve]:
    """Paired values: pictures differ much, A is ``shift`` dB better on average, and by how much varies a little."""
    hard = rng.normal(0, 3, count)
    own = shift + rng.normal(0, 1, count)
    snr = SNR[::2]
    return QualityCurve(snr, 25 + (snr[:, None] + own) / 2 + hard), QualityCurve(snr, 25 + snr[:, None] / 2 + hard)


@pytest.mark.parametrize("count", [FEWEST_PICTURES, 12])
def test_the_interval_covers(count: int) -> None:
    rng = np.random.default_rng(0)
    held, runs = 0, 200
    for number in range(runs):
        gain = snr_gain(*pictures(rng, 2.0, count), 10.0, seed=number)
        assert gain.low is not None
        assert gain.high is not None
        assert gain.value is not None
        assert gain.low < gain.value < gain.high
        held += gain.low <= 2.0 <= gain.high
    assert 0.90 <= held / runs <= 0.99


def test_pairs_matter() -> None:
    """What all pictures share does not widen the interval: 24 differences with a standard deviation of 1 dB."""
    gain = snr_gain(*pictures(np.random.default_rng(1), 2.0), 10.0)
    assert gain.low is not None
    assert gain.high is not None
    assert gain.high - gain.low == pytest.approx(2 * 2.07 / np.sqrt(24), rel=0.35)
    assert gain == snr_gain(*pictures(np.random.default_rng(1), 2.0), 10.0)


def test_an_interval_that_leaves_the_measured_range() -> None:
    """A needs 9.9 +- 0.4 dB more than 10 dB, and was measured up to 20."""
    own = np.random.default_rng(2).normal(0, 1, 24)
    a = QualityCurve(SNR, 25 + (SNR[:, None] + own - own.mean() - 9.9) / 2)
    b = QualityCurve(SNR, 25 + SNR[:, None] / 2 + np.zeros(24))
    gain = snr_gain(a, b, 10.0)
    assert gain.value == pytest.approx(-9.9)
    assert gain.low is None
    assert gain.high == pytest.approx(-9.5, abs=0.2)
    assert "beyond" in gain.reason


def test_what_cannot_be_compared() -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(UsageError, match="same pictures"):
        snr_gain(pictures(rng, 1.0, 4)[0], pictures(rng, 1.0, 5)[1], 10.0)
    for x, quality in (([0.0], [1.0]), ([0.0, 0.0], [1.0, 2.0]), ([0.0, 1.0], [1.0, np.nan]), ([0.0, 1.0], [1.0])):
        with pytest.raises(UsageError):
            QualityCurve(np.array(x), np.array(quality))
    for few in (1, FEWEST_PICTURES - 1):
        gain = snr_gain(*pictures(rng, 1.0, few), 10.0)
        assert (gain.low, gain.high) == (None, None)
        assert gain.reason == "no interval: fewer than 6 pictures"
