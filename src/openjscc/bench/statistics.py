"""Mean, spread and confidence of a figure over images and trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

NORMAL_975 = 1.959963984540054
"""97.5 % quantile of the normal law."""

RESAMPLES = 1000
FEWEST_PICTURES = 6
"""For an interval by bootstrap. Where images differ by a normal law, its 95 % interval holds the truth in 51 % of all cases for
two images, 77 % for three, 86 % for four and 94 % for six."""


@dataclass(frozen=True)
class Summary:
    """A figure over images x trials.

    Attributes:
        mean: over all images and trials.
        std: sample standard deviation (n - 1) over all images and trials; None for a single value.
        ci95: half width of the 95 % confidence interval of the mean; None for a single image. Of a share:
            see `share_half_width_95`; of a figure of all images together that can be `resampled`, half of the span of
            `between_95`.
        images: number of images.
        trials: repetitions of each.
    """

    mean: float
    std: float | None
    ci95: float | None
    images: int
    trials: int


def summarise(values: Sequence[Sequence[float]] | np.ndarray, *, share: bool = False) -> Summary:
    """Summary of ``(images, trials)`` values, as many trials for every image.

    Trials of one image are not independent samples of the population of pictures: a hard image is hard in each of
    them. So the confidence interval is that of the per-picture means over trials: ``t * s / sqrt(images)``, with s their
    sample standard deviation and t Student's 97.5 % quantile for images - 1 degrees of freedom. It says how far the mean
    over *other images of this kind* may lie, and more trials alone do not shrink it to nothing.

    Infinite values (PSNR of identical images) make the mean infinite and leave spread and interval undefined (NaN).

    Args:
        values: the table.
        share: they are 0 or 1 each, and their mean is a share of the pictures: the interval is `share_half_width_95`'s.

    Raises:
        ValueError: not a table, or an empty one.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"expected (images, trials), got shape {table.shape}")
    images, trials = table.shape
    with np.errstate(invalid="ignore"):  # inf - inf
        mean = float(table.mean())
        std = float(table.std(ddof=1)) if table.size > 1 else None
    ci95 = share_half_width_95(mean, images) if share else half_width_95(table.mean(axis=1))
    return Summary(mean, std, ci95, images, trials)


def half_width_95(values: Sequence[float] | np.ndarray) -> float | None:
    """Half width of the 95 % confidence interval of the mean of independent values: ``t s / sqrt(n)``; None below two of them."""
    if len(values) < 2:
        return None
    with np.errstate(invalid="ignore"):  # inf - inf
        spread = float(np.std(values, ddof=1))
    return student_t_975(len(values) - 1) * spread / math.sqrt(len(values))


def share_half_width_95(share: float, count: int) -> float | None:
    """How far the 95 % Wilson score interval of a share reaches from it: to the farther of its ends. None below two images.

    Where all (or none) of few images are right, their values have no spread, and ``t s / sqrt(n)`` would be 0. The score
    interval (E. B. Wilson, Journal of the American Statistical Association 22, 1927) is never empty; it lies around
    ``(share + z^2 / 2n) / (1 + z^2 / n)``, closer to 1/2 than the share. So ``share +- half width``, cut at 0 and 1, holds all of
    it and some more.

    Several trials of an image are taken for one, with their mean: that has at most the spread of one trial, and the interval is
    on the safe side.
    """
    if count < 2:
        return None
    square = NORMAL_975**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = math.sqrt(square * share * (1 - share) / count + (square / (2 * count)) ** 2) / (1 + square / count)
    return abs(middle - share) + half


def resampled(entries: Sequence[Sequence[np.ndarray]], reduce: Callable[[Sequence[np.ndarray]], float]) -> np.ndarray:
    """A figure of all images together, of `RESAMPLES` samples of them drawn with replacement (the bootstrap of B. Efron).

    The draws depend on the number of images alone. So the figures of two systems over the same images are paired, one by one.

    Args:
        entries: ``(images, trials)``, what was counted of each; the figure is a function of their sum.
        reduce: that function. The trials' figures are averaged.

    Returns:
        float64 ``(RESAMPLES,)``.
    """
    pictures = len(entries)
    draws = np.random.default_rng(0).integers(0, pictures, (RESAMPLES, pictures))
    times = np.stack([np.bincount(row, minlength=pictures) for row in draws]).astype(np.float64)
    figures = []
    for trial in zip(*entries, strict=True):
        table = np.stack(trial).astype(np.float64)
        sums = (times @ table.reshape(pictures, -1)).reshape(RESAMPLES, *table.shape[1:])
        figures.append([reduce([each]) for each in sums])
    return np.mean(figures, axis=0)


def between_95(figures: Sequence[float] | np.ndarray) -> tuple[float, float] | None:
    """Where 95 % of resampled figures lie; None where some are not finite."""
    table = np.asarray(figures, np.float64)
    low, high = (float(bound) for bound in np.quantile(table, (0.025, 0.975))) if np.isfinite(table).all() else (math.nan,) * 2
    return None if math.isnan(low) else (low, high)


@lru_cache(maxsize=256)
def student_t_975(degrees: int) -> float:
    """The 97.5 % quantile of Student's t with so many degrees of freedom."""
    if degrees < 1:
        raise ValueError(f"{degrees} degrees of freedom")
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))
