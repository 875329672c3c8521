"""Records arranged as panels of curves: which points belong together, and how they are called. No drawing."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..bench.records import Record
from ..errors import UsageError
from ..units import channel_uses_per_pixel
from .columns import COLUMNS, Value, columns_that, in_order, in_words, listed, shown
from .labels import system_name
from .select import check_column, columns

INTERVALS = {"pictures": "shown_ci95", "noise": "ci95_noise", "none": None}
"""Which column of a record holds the half width."""

MOST_PANELS = 36

MOST_LOST = 0.5
"""Share of lost transmissions above which a mean says little more than that."""

MEASURED = columns_that("measured")
"""Columns that can be drawn like a metric. They belong to a cell (one system at one point): all its records say the same."""

_CONDITIONS = columns_that("condition")
"""What was asked of all systems alike: never mixed in one curve, unless the x axis runs along it."""
_RUN = columns_that("run")
"""How it was measured: never mixed in one curve."""
_MAKE = columns_that("make")
"""What may change along a curve (a ratio may have its own weight), but tells two points at one place apart."""
_ALONG = {name: column.along for name, column in COLUMNS.items() if column.along}
"""The condition that changes along an x axis."""
_CELL = (
    "system", *(name for name in (*_CONDITIONS, *_RUN, *_MAKE) if name not in ("task_network", "trials", "task_network_sha256"))
)  # fmt: skip
"""What tells the values of a measured column apart."""


@dataclass(frozen=True)
class Curve:
    """Points in the order of x; NaN where there is no value.

    Attributes:
        label: for the legend.
        system: of its records.
        variant: what tells it apart from other curves of its system; empty where there are none.
        bound: a theoretical bound.
        x: positions.
        y: means.
        half: half widths of the 95 % interval.
        lost: shares of lost transmissions.
        points: what that is from.
    """

    label: str
    system: str
    variant: str
    bound: bool
    x: tuple[float, ...]
    y: tuple[float, ...]
    half: tuple[float, ...]
    lost: tuple[float, ...]
    points: tuple[Record, ...] = field(repr=False)


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        place: value of each facet.
        curves: what is drawn.
        records: where that is from.
    """

    place: dict[str, Value]
    curves: list[Curve]
    records: list[Record]


@dataclass(frozen=True)
class Layout:
    """All panels of a figure.

    Attributes:
        panels: in the order of their facets' values.
        facets: columns that tell the panels apart.
        constant: conditions that are the same for all records.
        ratios: nominal ratios of all records, but for those that a system chose.
        notes: what is not drawn, and why.
    """

    panels: list[Panel]
    facets: tuple[str, ...]
    constant: dict[str, Value]
    ratios: list[float]
    notes: list[str] = field(default_factory=list)

    def values(self, facet: str) -> list[Value]:
        """Of a facet, in order."""
        return in_order(panel.place[facet] for panel in self.panels)


def arrange(
    records: Sequence[Record], x: str, y: str, facets: Sequence[str] | None = None, interval: str = "pictures",
    arrived: bool = False, names: Mapping[str, str] | None = None,
) -> Layout:  # fmt: skip
    """Panels of curves.

    Args:
        records: any; those of other metrics are left out.
        x: a column with numbers.
        y: a metric, or a column of `MEASURED`.
        facets: columns, one panel for each combination of their values; None: data set, channel, ratio and SNR as far as they
            differ. What differs beyond that (and a told SNR) makes curves of its own, and is in their labels. So do, along an
            axis of bandwidth, the points whose ratio the system chose.
        interval: a key of `INTERVALS`: what the mean over other images may be, or with other noise.
        arrived: means over the images that arrived instead of all. These have no interval. Not of a column.
        names: of systems, for the labels.

    Raises:
        UsageError: unknown column or metric, too many panels, or records that contradict one another.
    """
    along = _ALONG.get(_numeric(x))
    if arrived and y in MEASURED:
        raise UsageError(f"{y} of the pictures that arrived", "it is measured over all of them: leave that out")
    chosen = _of_column(records, y) if y in MEASURED else [record for record in records if record.metric == y]
    if not chosen:
        hint = f"metric: {listed(records, 'metric')}; or a column: {', '.join(MEASURED)}"
        raise UsageError(f"no record of metric {y!r}", hint)
    placed = [record for record in chosen if _position(record, x) is not None]
    if not placed:
        raise UsageError(f"the records have no {x}", "choose another column for the x axis, e.g. snr_db or bandwidth_ratio")
    out = len(chosen) - len(placed)
    notes = [f"{out} records have no {x} and are left out"] if out else []
    if facets is None:
        facets = [name for name in _CONDITIONS[:4] if name != along and _differs(placed, name)]
    elif x in facets or along in facets:
        raise UsageError(f"panels by {along or x}, which the x axis runs along", "leave it out of the facets")
    groups = _grouped(placed, lambda record: tuple(getattr(record, check_column(name)) for name in facets))
    if len(groups) > MOST_PANELS:
        there = "; ".join(f"{name}: {listed(placed, name)}" for name in facets)
        raise UsageError(f"{len(groups)} panels, more than {MOST_PANELS}", f"choose among the records (--where). {there}")
    labelled = [name for name in _CONDITIONS if name != along and name not in facets and _differs(placed, name)]
    orders = [in_order(getattr(record, name) for record in placed) for name in facets]
    panels = []
    for values in sorted(groups, key=lambda key: [order.index(value) for order, value in zip(orders, key, strict=True)]):
        place = dict(zip(facets, values, strict=True))
        curves = []
        for system, group in _grouped(groups[values], lambda record: record.system).items():
            whole = next((record.images for record in group if record.error is None), 0)
            group = [record if record.error is None else dataclasses.replace(record, images=whole) for record in group]
            split = [*labelled, *(name for name in _RUN if _differs(group, name) and name not in facets)]
            for variant, points in _split(group, split, along, x):
                label = ", ".join([system_name(system, names), *variant])
                curves.append(_curve(points, x, label, ", ".join(variant), interval, arrived))
                notes += _missing(points, label, y, arrived)
        panels.append(Panel(place, curves, groups[values]))
    constant = {name: getattr(placed[0], name) for name in _CONDITIONS if name != along and not _differs(placed, name)}
    ratios = sorted({record.ratio for record in placed if record.ratio is not None})
    return Layout(panels, tuple(facets), constant, ratios, list(dict.fromkeys(notes)))


def _numeric(x: str) -> str:
    if columns()[check_column(x)] not in (int, float):
        raise UsageError(f"column {x} holds no numbers", "choose e.g. snr_db, bandwidth_ratio or cpp for the x axis")
    return x


def _position(record: Record, x: str) -> float | None:
    value = getattr(record, x)
    if value is None and x == "cpp":
        return channel_uses_per_pixel(record.bandwidth_ratio)
    return value


def _of_column(records: Sequence[Record], name: str) -> list[Record]:
    """A column's values as means without interval, each once. A failed cell says nothing where another one has a value."""

    def place(record: Record) -> tuple:
        return tuple(getattr(record, column) for column in ("system", *_CONDITIONS[:-1], "seed"))

    there = {place(record) for record in records if record.error is None}
    found: dict[tuple, Record] = {}
    for record in records:
        value = _position(record, name) if record.error is None else None
        if record.error is None or place(record) not in there:
            key = (value, *(getattr(record, column) for column in _CELL))
            bare = dataclasses.replace(record, metric=name, mean=value, std=None, ci95=None, ci95_noise=None, mean_arrived=None)
            found.setdefault(key, dataclasses.replace(bare, task_network=None, task_network_sha256=None))
    return list(found.values())


def _differs(records: Iterable[Record], name: str) -> bool:
    return len({getattr(record, name) for record in records}) > 1


def _grouped(records: Iterable[Record], key: Callable[[Record], object]) -> dict:
    groups: dict = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def _split(group: list[Record], names: Sequence[str], along: str | None, x: str) -> list[tuple[list[str], list[Record]]]:
    """The records of one system in one panel as curves: (words that tell them apart, points in the order of x)."""
    names = [*names]
    if _doubled(group, names, along):
        names += [name for name in _MAKE if _differs(group, name)]
    free = along == "ratio"
    groups = _grouped(group, lambda record: (free and record.ratio is None, *(getattr(record, name) for name in names)))
    curves = []
    for (chosen, *values), points in groups.items():
        if twice := _doubled(points, (), along):
            where = f"{along}={shown(along, getattr(twice, along))}" if along else f"one {x}"
            raise UsageError(
                f"{twice.system} has several values of {twice.metric} at {where}",
                "plot one file, or choose records with --where" + (", e.g. metric=psnr" if twice.metric in MEASURED else ""),
            )
        words = [text for name, value in zip(names, values, strict=True) if (text := in_words(name, value))]
        if chosen:
            words.insert(0, in_words("ratio", None))
        curves.append((words, sorted(points, key=lambda record: _position(record, x) or 0.0)))
    return curves


def _doubled(records: Iterable[Record], names: Sequence[str], along: str | None) -> Record | None:
    """A record at whose place there is another one."""
    keys = set()
    for record in records:
        key = tuple(getattr(record, name) for name in (*names, *([along] if along else [])))
        if key in keys:
            return record
        keys.add(key)
    return None


def _curve(points: list[Record], x: str, label: str, variant: str, interval: str, arrived: bool) -> Curve:
    half = None if arrived else INTERVALS[interval]
    return Curve(
        label,
        points[0].system,
        variant,
        any(record.bound for record in points),
        tuple(_number(_position(record, x)) for record in points),
        tuple(_number(record.mean_arrived if arrived else record.mean) for record in points),
        tuple(_number(getattr(record, half) if half else None) for record in points),
        tuple(record.outage_rate for record in points),
        tuple(points),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _missing(points: Sequence[Record], label: str, y: str, arrived: bool) -> list[str]:
    """Notes on points without a value. That nothing arrived needs none."""
    failed = [record for record in points if record.error is not None]
    silent = [record for record in points if record.error is None and record.mean is None]
    notes = [f"{label}: {len(failed)} failed, not drawn"] if failed else []
    if silent and not (arrived and all(record.mean_arrived is not None for record in silent)):
        rest = [
            f"{record.mean_finite:.2f} without {record.infinite} of {record.images * record.trials}"
            for record in silent
            if record.mean_finite is not None
        ]
        what = "infinite" if y == "psnr" else "without a finite value"
        means = f" (means: {', '.join(rest)} images)" if rest else ""
        notes.append(f"{label}: {len(silent)} {what}, not drawn{means}")
    return notes


def matters(curves: Iterable[Curve]) -> list[float]:
    """How far an axis has to reach: the means of points that lost `MOST_LOST` at most, with intervals where nothing was lost."""
    ends = []
    for curve in curves:
        for y, half, lost in zip(curve.y, curve.half, curve.lost, strict=True):
            around = 0.0 if math.isnan(half) or lost > 0 else half
            ends += [y - around, y + around] if math.isfinite(y) and lost <= MOST_LOST else []
    return ends


def grid(layout: Layout, widest: int) -> tuple[list[list[Panel | None]], bool]:
    """Panels in rows, and whether the rows are those of the last facet.

    One facet is laid out in rows of at most ``widest``. Of several the last goes down and the others go across.
    """
    if len(layout.facets) < 2:
        count = len(layout.panels)
        across = min(count, widest, math.ceil(math.sqrt(count)) if count > widest else count)
        padded = [*layout.panels, *[None] * (-count % across)]
        return [padded[start : start + across] for start in range(0, len(padded), across)], False
    down, sideways = layout.facets[-1], layout.facets[:-1]
    by_place = {tuple(panel.place.values()): panel for panel in layout.panels}
    used = {key[:-1] for key in by_place}
    heads = [head for head in itertools.product(*(layout.values(name) for name in sideways)) if head in used]
    return [[by_place.get((*head, value)) for head in heads] for value in layout.values(down)], True
