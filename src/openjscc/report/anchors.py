"""Published figures to compare with: where they were read, and how well they could be read."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..bench.records import Record
from ..errors import IntegrityError, UsageError
from ..units import channel_uses_per_pixel, parse_ratio
from .layout import Panel

COLUMNS = ("system", "dataset", "channel", "snr_db", "cbr", "metric", "value", "how_read", "source")

IMAGES = {
    "kodak": (24, "d2ff109aa9bc1fa3846a19070dec5bf08dc0613e858862b71833a1597032d038"),
    "cifar10": (10_000, "f69ea4a4e93ad17c59d6e245a20a9067bd98252aef8fb31c68ffe3c6aa745185"),
}
"""The images that published points of a data set are of: their number, and `Record.data_sha256` of them."""

_FIGURE = re.compile(r"figure (?:\+-|±) ?(\d+\.?\d*)")


@dataclass(frozen=True)
class Anchor:
    """One published point.

    Attributes:
        system: its publisher's name for it.
        dataset: as ``--data`` names it.
        channel: as our specs name it, where it is one of ours.
        snr_db: average SNR in dB.
        ratio: CBR, complex channel uses per source value.
        metric: a name of `openjscc.metrics.METRICS`.
        value: in the metric's unit.
        error: how far the reading may be off: 0 for a number in print, more for one read from a figure.
        source: where it was read.
    """

    system: str
    dataset: str
    channel: str
    snr_db: float
    ratio: float
    metric: str
    value: float
    error: float
    source: str


def read_anchors(path: Path) -> list[Anchor]:
    """The points of a CSV file with the columns `COLUMNS`; ``how_read`` is ``text`` or ``figure +-ERROR``.

    Raises:
        UsageError: no such file.
        IntegrityError: other columns, or a line that is no point.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise IntegrityError(f"{path} does not have the columns of published points", f"first line: {','.join(COLUMNS)}")
            return [_anchor(row, f"{path}: line {reader.line_num}") for row in reader]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise IntegrityError(f"{path} is no CSV file: {error}", f"first line: {','.join(COLUMNS)}") from None


def _anchor(row: dict[str, str | None], where: str) -> Anchor:
    if None in row or None in row.values():
        raise IntegrityError(f"{where} does not have {len(COLUMNS)} values", f"columns: {','.join(COLUMNS)}")
    text = {key: (value or "").strip() for key, value in row.items()}
    try:
        snr_db, value, ratio = float(text["snr_db"]), float(text["value"]), parse_ratio(text["cbr"])
    except ValueError as error:  # a UsageError is one
        raise IntegrityError(f"{where}: {getattr(error, 'message', error)}", "numbers, and cbr as 1/16 or 0.0625") from None
    if not (math.isfinite(snr_db) and math.isfinite(value)):
        raise IntegrityError(f"{where} has a value that is not finite", "leave the point out")
    kind = _FIGURE.fullmatch(text["how_read"])
    if kind is None and text["how_read"] != "text":
        raise IntegrityError(f"{where}: how_read is {text['how_read']!r}", "write text, or figure +-0.2")
    error = float(kind[1]) if kind else 0.0
    names = (text["system"], text["dataset"], text["channel"])
    return Anchor(*names, snr_db, ratio, text["metric"], value, error, text["source"])


def of_other_images(records: Iterable[Record]) -> list[str]:
    """Notes on records of a data set's name whose images are not those of its published points (`IMAGES`)."""
    notes: dict[str, None] = {}
    for record in records:
        name = Path(record.data).name.lower()
        count, sha256 = IMAGES.get(name, (record.images, record.data_sha256))
        if record.error is not None:
            continue
        published = f"the published points are of the {count} images of {name}"
        if record.images != count:
            notes[f"{published}, some records of {record.images}: their means are of other images"] = None
        elif record.data_sha256 not in (None, sha256):  # the sum is that of the files: the same pixels may be packed otherwise
            notes[f"{published}, some records of {count} other files: make sure that these are the same images"] = None
    return list(notes)


def placed(anchors: Iterable[Anchor], panel: Panel, x: str, y: str) -> Iterator[tuple[float, Anchor]]:
    """The published points that belong into a panel of ``y`` against ``x``, with their place on that axis."""
    records = panel.records
    data = {Path(record.data).name.lower() for record in records}
    if x not in ("snr_db", "ratio", "bandwidth_ratio", "cpp") or all(r.told_snr_db is not None for r in records):
        return
    for anchor in anchors:
        fits = anchor.dataset.lower() in data and anchor.metric == y and any(r.channel == anchor.channel for r in records)
        if x == "snr_db":
            same, place = any(math.isclose(r.ratio or 0.0, anchor.ratio, rel_tol=0.01) for r in records), anchor.snr_db
        else:
            same, place = any(math.isclose(r.snr_db, anchor.snr_db, abs_tol=0.01) for r in records), anchor.ratio
        if fits and same:
            yield (channel_uses_per_pixel(place) if x == "cpp" else place), anchor
