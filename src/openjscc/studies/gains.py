"""The ``[[gain]]`` tables of a study: computed from the values of every image. They are kept as ``gains.json``
(`openjscc.studies.comparisons.write_tables`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..bench.bjontegaard import FEWEST as BD_FEWEST
from ..bench.bjontegaard import bd_quality, bd_rate
from ..bench.cells import CellResult
from ..bench.gains import FEWEST, Gain, QualityCurve, bandwidth_gain, snr_gain
from ..bench.records import Record
from ..errors import UsageError
from ..metrics import get_metric
from ..report.select import select
from .comparisons import Pair, Place, pairs
from .sections import GainSection


@dataclass(frozen=True)
class GainRow:
    """One system against the other, at one of the other's points.

    Attributes:
        place: where.
        system: that saves.
        at: SNR in dB, or bandwidth ratio, of the other system.
        lost: share of the images that the other one lost there.
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
    found = _pairs(section, records)
    for system in section.of:
        both = [min(len(a), len(b)) for _, name, a, b in found if name == system]
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


def _pairs(section: GainSection, records: Sequence[Record]) -> list[Pair]:
    """`openjscc.studies.comparisons.pairs` along what is saved. A ratio that a system chose is no point of a curve of ratios."""
    if section.x == "snr_db":
        return pairs(section, records, "snr_db")
    return pairs(section, [record for record in records if record.ratio is not None], "ratio")


def _curve(section: GainSection, records: Sequence[Record], values: Mapping[int, list[list[float]]]) -> QualityCurve | None:
    """Of the mean over trials of each image; None where there are too few points."""
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
