"""The ``[[gain]]`` tables of a study: computed from the values of every picture, and kept as ``gains.json``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration import build
from ..errors import IntegrityError, OpenJSCCError, UsageError
from ..files import write_atomically
from ..metrics import get_metric
from .bjontegaard import FEWEST as BD_FEWEST
from .bjontegaard import bd_quality, bd_rate
from .gains import FEWEST, Gain, QualityCurve, bandwidth_gain, snr_gain
from .grid import CellResult
from .records import Record
from .selection import select, shown
from .study_sections import GainSection

_CONDITIONS = ("data", "channel", "ratio", "snr_db", "told_snr_db", "images", "seed")


@dataclass(frozen=True)
class Place:
    """What both systems were measured under, but for what the table runs along (None).

    Attributes:
        data, channel, ratio, snr_db, told_snr_db, images, seed: as in a `Record`.
    """

    data: str
    channel: str
    ratio: float | None
    snr_db: float | None
    told_snr_db: float | None
    images: int
    seed: int


@dataclass(frozen=True)
class GainRow:
    """One system against the other, at one of the other's points.

    Attributes:
        place: where.
        system: that saves.
        at: SNR in dB, or bandwidth ratio, of the other system.
        lost: share of the pictures that the other one lost there.
        gain: see `openjscc.bench.gains.Gain`.
    """

    place: Place
    system: str
    at: float
    lost: float
    gain: Gain


@dataclass(frozen=True)
class MeanRow:
    """One system against the other over all that both reach, see `openjscc.bench.bjontegaard`.

    Attributes:
        place: where.
        system: that saves.
        rate: how much more bandwidth it needs, in percent (negative: less); None: see ``reason``.
        quality: how much better it is at the same bandwidth; None: see ``reason``.
        reason: why there is no value.
    """

    place: Place
    system: str
    rate: float | None
    quality: float | None
    reason: str = ""


@dataclass(frozen=True)
class GainTable:
    """A ``[[gain]]`` section and its figures.

    Attributes:
        section: what was asked for.
        rows: in the order of places, systems and points.
        means: with ``bd``.
    """

    section: GainSection
    rows: tuple[GainRow, ...]
    means: tuple[MeanRow, ...] = ()


def check_gain(section: GainSection, records: Sequence[Record]) -> None:
    """Whether records of these places will do.

    Raises:
        UsageError: a system is not measured, or never under the same conditions as the other one, or at too few points, or twice
            at one.
    """
    fewest = BD_FEWEST if section.bd else FEWEST
    select([record for record in records if record.metric == section.metric], section.conditions, (section.over, *section.of))
    pairs = _pairs(section, records)
    for system in section.of:
        both = [min(len(a), len(b)) for _, name, a, b in pairs if name == system]
        if max(both, default=0) < fewest:
            there = f"{max(both)} points" if both else "no common conditions"
            raise UsageError(
                f"gain of {system} over {section.over}: {there}",
                f"measure both at {fewest} or more values of {section.x}, all else equal",
            )


def gain_table(section: GainSection, results: Iterable[CellResult]) -> GainTable:
    """The figures of a section, from measured cells. Cells that failed, and values that are not finite, are left out.

    Raises:
        UsageError: no cell is meant, or two of one system at one point.
    """
    cells = [(record, cell.measured) for cell in results for record in cell.records if record.metric == section.metric]
    values = {id(record): measured.values[section.metric] for record, measured in cells if measured is not None}
    records = [record for record, measured in cells if measured is not None]
    rows: list[GainRow] = []
    means: list[MeanRow] = []
    for place, system, ours, theirs in _pairs(section, records):
        a, b = (_curve(section, some, values) for some in (ours, theirs))
        for record in theirs:
            at = float(getattr(record, section.x))
            rows.append(GainRow(place, system, at, record.outage_rate, _gain(section, a, b, at, record.outage_rate)))
        if section.bd:
            means.append(_mean(section, place, system, a, b))
    return GainTable(section, tuple(rows), tuple(means))


def write_gains(path: Path, tables: Iterable[GainTable]) -> None:
    """Write ``gains.json``, whole or not at all."""
    content = json.dumps([dataclasses.asdict(table) for table in tables], indent=1, allow_nan=False)
    write_atomically(path, (content + "\n").encode())


def read_gains(path: Path) -> list[GainTable]:
    """What `write_gains` wrote.

    Raises:
        IntegrityError: it is something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
            raise ValueError("not a list of objects")
        return [build(GainTable, item, f"{path}: table {number}") for number, item in enumerate(content)]
    except OpenJSCCError as error:
        raise IntegrityError(error.message, "run the study again") from None
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} does not hold gains: {error}", "run the study again") from None


Pair = tuple[Place, str, list[Record], list[Record]]


def _pairs(section: GainSection, records: Sequence[Record]) -> list[Pair]:
    """Place, system, its records and those of the other one, in the order of x; only where there are both."""
    along = "snr_db" if section.x == "snr_db" else "ratio"
    chosen = [record for record in records if record.metric == section.metric]
    theirs = _by_place(_of(chosen, section, section.over), section, along)
    pairs = []
    for system in section.of:
        ours = _by_place(_of(chosen, section, system), section, along)
        pairs += [(place, system, ours[place], theirs[place]) for place in theirs if place in ours]
    order = list(theirs)
    return sorted(pairs, key=lambda pair: order.index(pair[0]))


def _of(records: Sequence[Record], section: GainSection, system: str) -> list[Record]:
    """Those of one system; none where all its cells failed."""
    try:
        return select(records, section.conditions, (system,))
    except UsageError:
        return []


def _by_place(records: Iterable[Record], section: GainSection, along: str) -> dict[Place, list[Record]]:
    groups: dict[Place, dict[float, Record]] = {}
    for record in records:
        conditions: dict[str, Any] = {name: None if name == along else getattr(record, name) for name in _CONDITIONS}
        place = Place(**conditions)
        points = groups.setdefault(place, {})
        if getattr(record, along) in points:
            where = f"{along}={shown(along, getattr(record, along))}"
            raise UsageError(
                f"gain: {record.system} has several values of {section.metric} at {where}",
                'choose one, e.g. where = "trials=3"',
            )
        points[getattr(record, along)] = record
    return {place: [points[x] for x in sorted(points)] for place, points in groups.items()}


def _curve(section: GainSection, records: Sequence[Record], values: Mapping[int, list[list[float]]]) -> QualityCurve | None:
    """Of the mean over trials of each picture; None where there are too few points."""
    points = [(getattr(record, section.x), np.asarray(values[id(record)], np.float64).mean(1)) for record in records]
    points = [(x, quality) for x, quality in points if np.isfinite(quality).all()]
    if len(points) < FEWEST:
        return None
    return QualityCurve(np.array([x for x, _ in points]), np.stack([quality for _, quality in points]))


def _gain(section: GainSection, a: QualityCurve | None, b: QualityCurve | None, at: float, lost: float) -> Gain:
    if a is None or b is None:
        return Gain(None, None, None, None, f"fewer than {FEWEST} points with finite values")
    if at not in b.x:
        return Gain(None, None, None, None, "the other system has no finite value there")
    if lost == 1:
        return Gain(None, None, None, float(b.quality[list(b.x).index(at)].mean()), "the other system loses every picture there")
    function = snr_gain if section.x == "snr_db" else bandwidth_gain
    return function(a, b, at, higher_is_better=get_metric(section.metric).higher_is_better)


def _mean(section: GainSection, place: Place, system: str, a: QualityCurve | None, b: QualityCurve | None) -> MeanRow:
    if a is None or b is None:
        return MeanRow(place, system, None, None, f"fewer than {BD_FEWEST} points with finite values")
    sign = 1.0 if get_metric(section.metric).higher_is_better else -1.0
    curves = [list(part) for curve in (b, a) for part in (curve.x, sign * curve.quality.mean(1))]
    try:
        return MeanRow(place, system, bd_rate(*curves), sign * bd_quality(*curves))
    except UsageError as error:
        return MeanRow(place, system, None, None, error.message)
