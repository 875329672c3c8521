"""The ``[[difference]]`` tables of a study: computed from the values of every image. They are kept as ``differences.json``
(`openjscc.studies.comparisons.write_tables`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..bench.cells import CellResult
from ..bench.differences import Difference, difference_between
from ..bench.records import Record
from ..errors import UsageError
from ..report.columns import shown
from ..report.select import select
from .comparisons import Place, pairs
from .sections import DifferenceSection


@dataclass(frozen=True)
class DifferenceRow:
    """One system against the other, at one point that both were measured at.

    Attributes:
        place: where, but for ``at``.
        system: the first.
        at: SNR in dB, or nominal bandwidth ratio; None: each system chose it for every image.
        mean: of the other system, over images and trials; None where it is not finite.
        lost: share of the images that the other one lost.
        difference: the first system's mean less the other's; None: see ``reason``.
        reason: why there is no value.
        ratio: nominal bandwidth ratio of the first system; only where the two may differ in it.
        over_ratio: that of the other one.
    """

    place: Place
    system: str
    at: float | None
    mean: float | None
    lost: float
    difference: Difference | None
    reason: str = ""
    ratio: float | None = None
    over_ratio: float | None = None


@dataclass(frozen=True)
class DifferenceTable:
    """A ``[[difference]]`` section and its figures.

    Attributes:
        section: what was asked for.
        rows: in the order of places, systems and points.
    """

    section: DifferenceSection
    rows: tuple[DifferenceRow, ...]


def check_difference(section: DifferenceSection, records: Sequence[Record]) -> None:
    """Whether records of these places will do.

    Raises:
        UsageError: a system is not measured, or at no point of the other one, or twice at one, or there with another number of
            trials.
    """
    of_metric = [record for record in records if record.metric == section.metric]
    select(of_metric, section.conditions, (section.over, *section.of))
    points = _points(section, records)
    for system in section.of:
        name = f"difference of {system} from {section.over}"
        both = [(ours, theirs) for _, found, ours, theirs in points if found == system]
        if not both:
            raise UsageError(
                f"{name}: no common point",
                f"measure both at one {section.x}, all else equal (at different bandwidth ratios: any_ratio = true)",
            )
        for ours, theirs in both:
            if ours.trials != theirs.trials:
                raise UsageError(
                    f"{name}: {ours.trials} and {theirs.trials} trials at "
                    f"{section.x}={shown(section.x, getattr(ours, section.x))}",
                    "measure both with the same trials, or leave that point out with where",
                )


def difference_table(section: DifferenceSection, results: Iterable[CellResult]) -> DifferenceTable:
    """The figures of a section, from measured cells. Points at which a cell failed are left out.

    Raises:
        UsageError: two cells of one system at one point.
    """
    measured = [cell for cell in results if cell.measured is not None]
    cells = {id(record): cell for cell in measured for record in cell.records}
    rows = []
    for place, system, ours, theirs in _points(section, [record for cell in measured for record in cell.records]):
        found, reason = None, ""
        try:
            found = difference_between(
                cells[id(ours)], cells[id(theirs)], section.metric, place.task_network, any_ratio=section.any_ratio
            )
        except UsageError as error:
            reason = error.message
        mean = theirs.mean if theirs.mean is not None and math.isfinite(theirs.mean) else None
        ratios = (ours.ratio, theirs.ratio) if section.any_ratio else (None, None)
        rows.append(DifferenceRow(place, system, getattr(ours, section.x), mean, theirs.outage_rate, found, reason, *ratios))
    return DifferenceTable(section, tuple(rows))


def _points(section: DifferenceSection, records: Sequence[Record]) -> list[tuple[Place, str, Record, Record]]:
    """Place, system, its record and that of the other one, at each point that has both."""
    found = []
    for place, system, ours, theirs in pairs(section, records, section.x, apart=section.apart):
        there = {getattr(record, section.x): record for record in theirs}
        found += [(place, system, record, there[at]) for record in ours if (at := getattr(record, section.x)) in there]
    return found
