"""Two systems under the same conditions: which of their records belong together, for the tables of a study that compare systems,
and the files of such tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..bench.records import Record
from ..configuration import build, read_objects
from ..errors import IntegrityError, OpenJSCCError, UsageError
from ..files import write_atomically
from ..report.columns import in_words, shown
from ..report.paired import Paired
from ..report.select import select
from .sections import ComparedSection

Table = TypeVar("Table")

PAIRED = "paired.json"
"""How sure the differences are that a study's figures show."""

_UNSAID = ("data", "images", "seed")
"""Not said of a place where they are the same everywhere."""


@dataclass(frozen=True)
class Place:
    """What both systems were measured under, but for what the table runs along (None).

    Attributes:
        data, channel, ratio, snr_db, told_snr_db, images, seed, task_network: as in a `Record`.
    """

    data: str
    channel: str
    ratio: float | None
    snr_db: float | None
    told_snr_db: float | None
    images: int
    seed: int
    task_network: str | None = None


Pair = tuple[Place, str, list[Record], list[Record]]


def pairs(section: ComparedSection, records: Sequence[Record], along: str, *, apart: Sequence[str] = ()) -> list[Pair]:
    """Place, system, its records and those of the other one, in the order of ``along``; only where there are both.

    Args:
        section: which systems.
        records: any; those of other metrics are left out.
        along: the condition that the table runs along, ``snr_db`` or ``ratio``.
        apart: other conditions in which the two may differ.

    Raises:
        UsageError: one system has several records at one point.
    """
    chosen = [record for record in records if record.metric == section.metric]
    theirs = _by_place(_of(chosen, section, section.over), along, apart)
    found = []
    for system in section.of:
        ours = _by_place(_of(chosen, section, system), along, apart)
        found += [(place, system, ours[place], theirs[place]) for place in theirs if place in ours]
    order = list(theirs)
    return sorted(found, key=lambda pair: order.index(pair[0]))


def _of(records: Sequence[Record], section: ComparedSection, system: str) -> list[Record]:
    """Those of one system; none where all its cells failed."""
    try:
        return select(records, section.conditions, (system,))
    except UsageError:
        return []


def _by_place(records: Iterable[Record], along: str, apart: Sequence[str]) -> dict[Place, list[Record]]:
    """Within a place by ``along``: None (a ratio that the system chose) first."""
    names, left_out = [field.name for field in dataclasses.fields(Place)], (along, *apart)
    groups: dict[Place, dict[float | None, Record]] = {}
    for record in records:
        conditions: dict[str, Any] = {name: None if name in left_out else getattr(record, name) for name in names}
        points, at = groups.setdefault(Place(**conditions), {}), getattr(record, along)
        if at in points:
            raise UsageError(
                f"{record.system} has several values of {record.metric} at {along}={shown(along, at)}",
                'choose one, e.g. where = "trials=3"; of ratios, one for each system: where = "ratio=1/16,1/32"',
            )
        points[at] = record
    order = {place: sorted(points, key=lambda x: (x is not None, x or 0.0)) for place, points in groups.items()}
    return {place: [groups[place][at] for at in some] for place, some in order.items()}


def place_in_words(place: Place, places: Sequence[Place], along: str, *, apart: Sequence[str] = ()) -> str:
    """What a table is of: ``awgn, CBR 1/16:``. What is the same at all ``places`` is left out where nobody would ask, and so is
    what differs within one (``apart``)."""
    told = {other.told_snr_db for other in places}
    words = [
        in_words(name, value) or ("SNR known" if name == "told_snr_db" and len(told) > 1 else "")
        for name, value in dataclasses.asdict(place).items()
        if name not in (along, *apart) and (name not in _UNSAID or len({getattr(other, name) for other in places}) > 1)
    ]
    return ", ".join(word for word in words if word) + ":"


def write_tables(path: Path, tables: Iterable[Any]) -> None:
    """Write dataclasses as a JSON list, whole or not at all."""
    content = json.dumps([dataclasses.asdict(table) for table in tables], indent=1, allow_nan=False)
    write_atomically(path, f"{content}\n".encode())


def read_tables(path: Path, kind: type[Table]) -> list[Table]:
    """What `write_tables` wrote.

    Raises:
        IntegrityError: it is something else.
    """
    try:
        return [build(kind, item, f"{path}: table {number}") for number, item in enumerate(read_objects(path.read_text("utf-8")))]
    except OpenJSCCError as error:
        raise IntegrityError(error.message, "run the study again") from None
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} does not hold such tables: {error}", "run the study again") from None


def read_bands(folders: Iterable[Path]) -> list[Paired]:
    """What studies kept for their figures in these folders (of other sources nothing)."""
    files = [folder / PAIRED for folder in folders]
    return [band for file in files if file.exists() for band in read_tables(file, Paired)]
