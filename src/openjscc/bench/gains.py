"""What one system saves against another at equal quality: dB of SNR, or a factor of bandwidth, with an interval.

Quality against SNR (or against the logarithm of the bandwidth ratio) is made monotone by the least change in the mean square
(pooled neighbours), and interpolated by a monotone piecewise cubic (slopes of F. N. Fritsch and J. Butland, SIAM Journal on
Scientific and Statistical Computing 5, 1984). Where a curve is flat, what counts is the least that is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from .statistics import FEWEST_PICTURES, student_t_975

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

RESAMPLES = 2000
FEWEST = 2
"""Points of a curve."""


@dataclass(frozen=True)
class QualityCurve:
    """Quality of one system at several points.

    Attributes:
        x: SNRs in dB, or bandwidth ratios; in any order.
        quality: ``(points,)`` means, or ``(points, pictures)`` values, the same images in the same order for every system.
    """

    x: np.ndarray
    quality: np.ndarray

    def __post_init__(self) -> None:
        x, quality = np.asarray(self.x, np.float64), np.asarray(self.quality, np.float64)
        if x.ndim != 1 or quality.ndim not in (1, 2) or len(quality) != len(x):
            raise UsageError(f"{x.shape} points and quality of shape {quality.shape}", "give (points,) or (points, pictures)")
        if len(np.unique(x)) < max(FEWEST, len(x)):
            raise UsageError(f"{len(np.unique(x))} different points of {len(x)}", f"give at least {FEWEST}, each once")
        if not (np.isfinite(x).all() and np.isfinite(quality).all()):
            raise UsageError("a curve with values that are not finite", "leave those points out")
        order = np.argsort(x)
        object.__setattr__(self, "x", x[order])
        object.__setattr__(self, "quality", quality[order])

    @property
    def pictures(self) -> int | None:
        """How many, where their values are known."""
        return self.quality.shape[1] if self.quality.ndim == 2 else None


@dataclass(frozen=True)
class Gain:
    """What A saves against B at the quality that B has somewhere.

    Attributes:
        value: dB of SNR (positive: A needs less), or B's bandwidth over A's (above 1: A needs less); None: see ``reason``.
        low, high: 95 % interval over other images; None where there are no values of images, or where it goes beyond what
            was measured.
        quality: that is compared at.
        reason: why there is no value, or no interval.
        least: where A is better than that quality wherever it was measured: the gain is more than this, which is not known.
        most: where A is worse wherever it was measured: the gain is less than this.
    """

    value: float | None
    low: float | None
    high: float | None
    quality: float | None
    reason: str = ""
    least: float | None = None
    most: float | None = None


def snr_gain(a: QualityCurve, b: QualityCurve, at: float, *, higher_is_better: bool = True, seed: int = 0) -> Gain:
    """How many dB less SNR A needs for the quality that B has at ``at`` dB."""
    return _gain(a, b, at, False, higher_is_better, seed)


def bandwidth_gain(a: QualityCurve, b: QualityCurve, at: float, *, higher_is_better: bool = True, seed: int = 0) -> Gain:
    """How many times as much bandwidth B uses at the ratio ``at`` as A needs for the same quality."""
    for x in (*a.x, *b.x, at):
        if not x > 0:
            raise UsageError(f"bandwidth ratio {x:g}", "ratios are positive")
    log_a, log_b = (QualityCurve(np.log(curve.x), curve.quality) for curve in (a, b))
    return _gain(log_a, log_b, math.log(at), True, higher_is_better, seed)


def _gain(a: QualityCurve, b: QualityCurve, at: float, logarithmic: bool, higher_is_better: bool, seed: int) -> Gain:
    where = partial(_where, logarithmic=logarithmic)
    if not b.x[0] <= at <= b.x[-1]:
        return Gain(None, None, None, None, f"B was measured from {where(b.x[0])} to {where(b.x[-1])}, not at {where(at)}")
    sign = 1.0 if higher_is_better else -1.0
    mean_a, mean_b = ((sign * (curve.quality if curve.pictures is None else curve.quality.mean(1)))[None] for curve in (a, b))
    quality, difference = (float(value[0]) for value in _difference(a.x, b.x, mean_a, mean_b, at))
    finish = math.exp if logarithmic else float
    if not math.isfinite(difference):
        word, end = ("better", a.x[-1]) if difference < 0 else ("worse", a.x[0])
        reason = f"B's quality of {sign * quality:.4g} is {word} than all that A reaches (measured to {where(end)})"
        bound = finish(at - end)
        ends = (None, bound) if difference < 0 else (bound, None)
        return Gain(None, None, None, sign * quality, reason, *ends)
    if a.pictures is None or b.pictures is None:
        return Gain(finish(difference), None, None, sign * quality, "no interval: values of single pictures are not given")
    if a.pictures != b.pictures:
        raise UsageError(f"{a.pictures} pictures of A and {b.pictures} of B", "an interval needs the same pictures for both")
    if a.pictures < FEWEST_PICTURES:
        return Gain(finish(difference), None, None, sign * quality, f"no interval: fewer than {FEWEST_PICTURES} pictures")
    ends = _bootstrap(a, b, at, sign, seed)
    known = [finish(end) if math.isfinite(end) else None for end in ends]
    beyond = "" if None not in known else "the interval goes beyond what was measured"
    return Gain(finish(difference), known[0], known[1], sign * quality, beyond)


def _where(x: float, logarithmic: bool) -> str:
    return f"{math.exp(x):.4g}" if logarithmic else f"{x:g} dB"


def _bootstrap(a: QualityCurve, b: QualityCurve, at: float, sign: float, seed: int) -> Sequence[float]:
    """95 % interval of the difference: percentiles over resampled images, the same ones for both systems.

    The percentiles are moved out as T. C. Hesterberg proposes (The American Statistician 69, 2015: "expanded percentile"), since
    those of few images are too narrow. Where a resampled A does not reach B's quality, the difference is infinite.
    """
    pictures = a.quality.shape[1]
    drawn = np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), RESAMPLES) / pictures
    differences = _difference(a.x, b.x, sign * drawn @ a.quality.T, sign * drawn @ b.quality.T, at)[1]
    tail = NormalDist().cdf(-math.sqrt(pictures / (pictures - 1)) * student_t_975(pictures - 1))
    return [float(end) for end in np.quantile(differences, [tail, 1 - tail], method="inverted_cdf")]


def _difference(xa: np.ndarray, xb: np.ndarray, a: np.ndarray, b: np.ndarray, at: float) -> tuple[np.ndarray, np.ndarray]:
    """For each row of means: B's quality at ``at``, and how much less than ``at`` A needs for it; -inf, inf outside A's range."""
    quality = cubics(xb, monotone(b))(at)
    return quality, at - _least(xa, monotone(a), quality)


def monotone(rows: np.ndarray) -> np.ndarray:
    """The nearest rows that do not fall, by pooling neighbours (isotonic regression)."""
    from scipy.optimize import isotonic_regression

    return np.stack([isotonic_regression(row).x for row in rows])


def cubics(x: np.ndarray, rows: np.ndarray) -> PchipInterpolator:
    """The piecewise cubics through the rows, monotone wherever a row is."""
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(x, rows, axis=1)


def _least(x: np.ndarray, rows: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """The least x at which each row's curve has the quality; inf above the row, -inf below it."""
    from scipy.optimize.elementwise import find_root

    piece = np.clip((rows < quality[:, None]).sum(1) - 1, 0, len(x) - 2)
    width = x[piece + 1] - x[piece]
    cubic = cubics(x, rows).c[:, piece, np.arange(len(rows))]  # coefficients, of the distance from the left end
    cubic[-1] -= quality
    root = find_root(lambda t, *cubic: np.polyval(cubic, t), (0.0, width), args=tuple(cubic), tolerances={"xatol": 1e-13})
    found = x[piece] + np.where(root.success, root.x, width)  # no root: the quality is that of the right end, but for rounding
    slack = 1e-9 * np.maximum(1.0, np.abs(quality))
    found = np.where(np.abs(quality - rows[:, 0]) <= slack, x[0], found)
    found = np.where(quality > rows[:, -1] + slack, np.inf, found)
    return np.where(quality < rows[:, 0] - slack, -np.inf, found)
