"""Mean distance between two rate-quality curves, after G. Bjøntegaard (ITU-T VCEG-M33, 2001, and VCEG-AI11, 2008).

The curves go through the given points. Between them they are piecewise cubic and monotone (slopes of F. N. Fritsch and J.
Butland, SIAM Journal on Scientific and Statistical Computing 5, 1984), in the logarithm of the rate. Bjøntegaard's first
proposal, one cubic for four points, does not serve for more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import UsageError
from .gains import cubics

FEWEST = 4


def bd_rate(rate_a: Sequence[float], quality_a: Sequence[float], rate_b: Sequence[float], quality_b: Sequence[float]) -> float:
    """How much more rate B needs than A for the same quality, in percent: the mean over the qualities that both reach.

    Negative where B is the better one. Points may come in any order.

    Args:
        rate_a, rate_b: positive, in any one unit (bits per pixel, channel uses, ...).
        quality_a, quality_b: in dB, or any scale that is better the higher.

    Raises:
        UsageError: fewer than four points, not finite, quality that does not rise with the rate, or no common qualities.
    """
    curve_a, curve_b = _points(rate_a, quality_a), _points(rate_b, quality_b)
    difference = _mean_difference((curve_a[1], curve_a[0]), (curve_b[1], curve_b[0]), "qualities")
    return 100 * math.expm1(difference)


def bd_quality(rate_a: Sequence[float], quality_a: Sequence[float], rate_b: Sequence[float], quality_b: Sequence[float]) -> float:
    """How much higher the quality of B is than that of A at the same rate: the mean over the (logarithms of the) common rates.

    In the unit of the quality: with PSNR this is the BD-PSNR in dB. Arguments and errors as `bd_rate`.
    """
    return _mean_difference(_points(rate_a, quality_a), _points(rate_b, quality_b), "rates")


Curve = tuple[np.ndarray, np.ndarray]


def _points(rate: Sequence[float], quality: Sequence[float]) -> Curve:
    """ln(rate) and quality, ascending."""
    rates, qualities = np.asarray(rate, np.float64), np.asarray(quality, np.float64)
    if rates.ndim != 1 or rates.shape != qualities.shape:
        raise UsageError(f"{rates.size} rates and {qualities.size} qualities", "give one quality for each rate")
    if rates.size < FEWEST:
        raise UsageError(f"a curve of {rates.size} points", f"use at least {FEWEST}")
    if not (np.isfinite(rates).all() and np.isfinite(qualities).all() and (rates > 0).all()):
        raise UsageError("a curve with values that are not finite, or a rate that is not positive", "leave those points out")
    order = np.argsort(rates)
    rates, qualities = np.log(rates[order]), qualities[order]
    if not ((np.diff(rates) > 0).all() and (np.diff(qualities) > 0).all()):
        raise UsageError("a curve whose quality does not rise with its rate", "leave out the points that others beat")
    return rates, qualities


def _mean_difference(curve_a: Curve, curve_b: Curve, what: str) -> float:
    """Mean of B − A over the common interval of their abscissas."""
    low, high = max(curve_a[0][0], curve_b[0][0]), min(curve_a[0][-1], curve_b[0][-1])
    if not low < high:
        raise UsageError(f"the curves have no {what} in common", "measure them over ranges that overlap")
    areas = [float(cubics(x, y[None]).integrate(low, high)[0]) for x, y in (curve_a, curve_b)]
    return (areas[1] - areas[0]) / (high - low)
