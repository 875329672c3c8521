"""The panel under PSNR against SNR: every system less one of them, over the same images and draws.

The differences are those of the records' means. Their intervals need the values of single images, so they are computed when
these are at hand, and kept beside the records.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..bench.cells import CellResult
from ..bench.differences import difference_between
from ..bench.records import Record
from ..errors import UsageError, unknown_name
from .layout import Curve, Panel

ALONG, METRIC = "snr_db", "psnr"
"""The axes of figures that have the panel unasked."""
NONE = "none"

_ALIKE = (
    "metric", "data", "data_sha256", "channel", "ratio", "snr_db", "told_snr_db", "images", "trials", "seed", "account",
    "task_network",
)  # fmt: skip
"""What must be equal for two means to be of the same images and draws."""


@dataclass(frozen=True)
class Paired:
    """How sure a difference is.

    Attributes:
        over: the system whose mean is taken off.
        system: the other one.
        metric, data, channel, ratio, snr_db, told_snr_db, images, trials, seed: as in both `Record`s.
        half: half width of the 95 % interval of the difference over other images of this kind.
    """

    over: str
    system: str
    metric: str
    data: str
    channel: str
    ratio: float | None
    snr_db: float
    told_snr_db: float | None
    images: int
    trials: int
    seed: int
    half: float


def reference(records: Sequence[Record], x: str, y: str, over: str | None) -> str | None:
    """The system that the others are held against; None: there is no such panel.

    Args:
        records: of the figure, in order.
        x, y: its axes.
        over: a system, or `NONE`; None: the first learned one, where PSNR is drawn against SNR.

    Raises:
        UsageError: there is no such system.
    """
    systems = list(dict.fromkeys(record.system for record in records if record.metric == y))
    if over == NONE or (over is None and (x, y) != (ALONG, METRIC)):
        return None
    if over is not None:
        if over not in systems:
            raise unknown_name("system", over, systems)
        return over
    learned = (record.system for record in records if record.metric == y and record.parameters is not None and not record.bound)
    return next(learned, None) if len(systems) > 1 else None


def differences(panel: Panel, over: str, bands: Iterable[Paired] = ()) -> list[Curve]:
    """The curves of a panel less that of a system, at the points that both have; NaN for an unknown interval."""
    theirs = {_key(record): record for curve in panel.curves if curve.system == over for record in curve.points}
    halves = {tuple(getattr(band, name) for name in _FIELDS): band.half for band in bands if band.over == over}
    found = []
    for curve in panel.curves:
        both = [(x, ours, theirs[_key(ours)]) for x, ours in zip(curve.x, curve.points, strict=True) if _key(ours) in theirs]
        both = [(x, ours, other) for x, ours, other in both if ours.mean is not None and other.mean is not None]
        if curve.system == over or not both:
            continue
        found.append(
            replace(
                curve,
                x=tuple(x for x, _, _ in both),
                y=tuple((ours.mean or 0.0) - (other.mean or 0.0) for _, ours, other in both),
                half=tuple(halves.get(tuple(getattr(ours, name) for name in _FIELDS), math.nan) for _, ours, _ in both),
                lost=tuple(max(ours.outage_rate, other.outage_rate) for _, ours, other in both),
                points=tuple(ours for _, ours, _ in both),
            )
        )
    return found


def paired(records: Sequence[Record], over: str, results: Iterable[CellResult]) -> list[Paired]:
    """The intervals of the differences of records, as far as their cells have the values of single images.

    Args:
        records: of one figure's metric, from these cells.
        over: see `reference`.
        results: measured cells.
    """
    cells = {id(record): cell for cell in results if cell.measured is not None for record in cell.records}
    theirs = {_key(record): record for record in records if record.system == over and id(record) in cells}
    found = []
    for record in records:
        other = theirs.get(_key(record))
        if other is None or record.system == over or id(record) not in cells:
            continue
        try:
            difference = difference_between(cells[id(record)], cells[id(other)], record.metric, record.task_network)
        except UsageError:  # infinite values, or none of single images
            continue
        if difference.low is not None and difference.high is not None:
            place = {name: getattr(record, name) for name in _FIELDS}
            found.append(Paired(over, **place, half=(difference.high - difference.low) / 2))
    return found


_FIELDS = tuple(name for name in Paired.__dataclass_fields__ if name not in ("over", "half"))


def _key(record: Record) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in _ALIKE)
