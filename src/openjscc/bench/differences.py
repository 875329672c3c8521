"""How much better one system is than another at one point, over the same images and draws, with an interval.

Both systems meet the same images, noise and fading (C12 of docs/conventions.md). What is hard for one is hard for the other, so
their difference is far surer than either mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..metrics import SetMetric, get_metric
from .cells import CellResult
from .statistics import NORMAL_975, between_95, half_width_95
from .task_metrics import metric_of

_ALIKE = ("data", "data_sha256", "channel", "snr_db", "told_snr_db", "seed")


@dataclass(frozen=True)
class Difference:
    """A's mean less B's.

    Attributes:
        value: over all images and trials.
        low, high: 95 % interval over other images of this kind; None for a single image.
        pictures: number of them.
        trials: of each.
    """

    value: float
    low: float | None
    high: float | None
    pictures: int
    trials: int


Table = Sequence[Sequence[float]] | np.ndarray


def difference(a: Table, b: Table, *, share: bool = False) -> Difference:
    """Of two tables ``(pictures, trials)`` of the same images and trials.

    Trials of one image are no independent samples, so the interval is over the images' mean differences: ``t s / sqrt(n)``
    around their mean. Of values that are 0 or 1 these can all be alike. Their interval is that of A. Agresti and Y. Min
    (Statistics in Medicine 24, 2005): two images are added, half a one to each of the four cases of right and wrong, and the
    normal interval is taken. It is never empty, and not symmetric around the difference. For several trials it is used with the
    images' means.

    Args:
        a: values of one system.
        b: values of the other.
        share: they are 0 or 1 each (accuracy).

    Raises:
        UsageError: tables of another form, or values that are not finite.
    """
    first, second = (np.asarray(table, np.float64) for table in (a, b))
    if first.ndim != 2 or first.size == 0 or first.shape != second.shape:
        raise UsageError(f"values of shapes {first.shape} and {second.shape}", "give (pictures, trials), the same for both")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise UsageError(
            "values that are not finite", "a difference of infinite values says nothing; choose another point or metric"
        )
    pictures, trials = first.shape
    each = (first - second).mean(1)
    value = float(each.mean())
    half = half_width_95(each)
    if half is None:
        return Difference(value, None, None, pictures, trials)
    if not share:
        return Difference(value, value - half, value + half, pictures, trials)
    count, total = pictures + 2, float(each.sum())
    middle = total / count
    half = NORMAL_975 * math.sqrt(float((each**2).sum()) + 1 - total**2 / count) / count
    return Difference(value, max(-1.0, middle - half), min(1.0, middle + half), pictures, trials)


def difference_between(
    a: CellResult, b: CellResult, metric: str = "psnr", network: str | None = None, *, any_ratio: bool = False
) -> Difference:
    """`difference` of two measured cells of a benchmark (`openjscc.bench.cells.stored`).

    Args:
        a: one system's.
        b: the other's.
        metric: one with values of single images, or a figure of all of them that was resampled (mIoU, pixel accuracy).
        network: whose view a metric of labels is of; None: the only one.
        any_ratio: the cells may be of different bandwidth ratios.

    Raises:
        UsageError: cells of other images, channels, SNRs, seeds, ratios or trials; a metric without such values.
    """
    for name in _ALIKE:
        ours, theirs = getattr(a.cell, name), getattr(b.cell, name)
        if ours != theirs:
            raise UsageError(f"{name} {ours} and {theirs}", "compare cells of one point: the same pictures and draws")
    if not any_ratio and a.cell.ratio != b.cell.ratio and None not in (a.cell.ratio, b.cell.ratio):
        raise UsageError(f"ratio {a.cell.ratio:g} and {b.cell.ratio:g}", "compare cells of one ratio")
    of_all = get_metric(metric)
    if isinstance(of_all, SetMetric) and of_all.additive:
        return _of_all(a, b, metric)
    ours, theirs = (_values(cell, metric, network) for cell in (a, b))
    return difference(ours, theirs, share=of_all.kind == "task")


def _of_all(a: CellResult, b: CellResult, metric: str) -> Difference:
    """Of figures of all images together: the interval is that of paired resamples of the images."""
    records = [next((record for record in cell.records if record.metric == metric), None) for cell in (a, b)]
    resamples = [[] if cell.measured is None else cell.measured.replicates.get(metric, []) for cell in (a, b)]
    ours, theirs = records
    if ours is None or theirs is None or ours.mean is None or theirs.mean is None:
        raise UsageError(f"no {metric} in both cells", "measure it for both systems")
    if (ours.images, ours.trials) != (theirs.images, theirs.trials):
        raise UsageError(
            f"{ours.images} pictures, {ours.trials} trials and {theirs.images} pictures, {theirs.trials} trials",
            "measure both systems with the same ones",
        )
    bounds = between_95(np.subtract(np.asarray(resamples[0]), np.asarray(resamples[1]))) if all(resamples) else None
    low, high = (None, None) if bounds is None else bounds
    return Difference(ours.mean - theirs.mean, low, high, ours.images, ours.trials)


def _values(result: CellResult, metric: str, network: str | None) -> list[list[float]]:
    get_metric(metric)
    tables = {} if result.measured is None else result.measured.values
    keys = [key for key in tables if metric_of(key) == metric and (network is None or key == f"{metric}:{network}")]
    if len(keys) != 1:
        there = ", ".join(tables) or "none"
        raise UsageError(
            f"{len(keys)} tables of {metric} in a cell of {result.cell.system}", f"name a metric and network; it has {there}"
        )
    return tables[keys[0]]
