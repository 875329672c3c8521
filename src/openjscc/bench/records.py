"""One measured figure as a record, and files of records: a CSV file with one line a record, and a JSON file beside it with the
facts that all lines share."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..configuration import build, read_json, read_objects
from ..errors import IntegrityError, OpenJSCCError, UsageError
from ..files import write_atomically
from .statistics import FEWEST_PICTURES

RECORDS, RUN = "records.csv", "run.json"
"""In a folder of results: the lines, and what they share."""

LINE = (
    "system", "weight", "metric", "channel", "ratio", "snr_db", "told_snr_db", "task_network", "mean", "std", "ci95",
    "outage_rate", "images", "trials", "bandwidth_ratio",
)  # fmt: skip
"""The columns that every CSV file of records has. Any other column is in the CSV file only where the records differ in it."""

ACCOUNT = 2
"""The present `Record.account`; digital links had another default before. Records without the field are of 1."""

FIRST_ACCOUNT = (
    "**Measured with the first account.** A header took one channel use a bit, and no frame was lost with it; since then it is "
    "coded and read, takes 20 to 188 uses, and has draws of its own (C4 and C12 of the conventions). Adapted digital links were "
    "`mcs=80211n:target=psnr:iterations=30`. These figures have not been measured again yet."
)
"""What a page says of records of account 1."""

FIGURE_LIMIT = 1e15
"""Largest figure in a record."""


@dataclass(frozen=True)
class Record:
    """A metric of a system on a data set, at one channel, SNR and ratio. `docs/benchmarks.md` has the attributes as a table.

    Attributes:
        system: as the user asked for it.
        weight: what the name resolved to: ``arch.tag``, with the options of the name.
        metric: name of the metric, as ``--metrics`` takes it.
        channel: canonical spec of the channel.
        snr_db: average SNR in dB.
        ratio: nominal bandwidth ratio; None: the system chose it for every image.
        mean: mean over images and trials; a lost image counts as grey (C11). None: not finite, see ``infinite``.
        std: standard deviation of the values of all images and trials; None for a single value.
        ci95: half width of the 95 % interval of the mean over other images of this kind; None for a single image.
        images: number of images.
        trials: repetitions of each image, every one with its own fading and noise.
        bandwidth_ratio: mean of channel uses, header included, over source values.
        parameters: of the networks; None for a system without.
        macs_per_pixel: multiply-accumulates of encoder and decoder per pixel; None where it has no meaning.
        data: the data set, as asked for.
        seed: of the experiment.
        outage_rate: share of the transmissions that were lost (C11).
        mean_arrived: mean without the lost transmissions; None where nothing arrived.
        bound: whether it is a theoretical bound, not a system.
        tool: a digital system's source coder with its version; None for learned ones.
        told_snr_db: SNR in dB that the transmitter believed in; None: the true one.
        task: what the receiver was to get, ``reconstruction`` or ``segmentation``; channel uses are those of this task.
        task_network: network whose view of the images was measured; None for metrics that need none.
        task_network_sha256: sha256 of that network (hex).
        ci95_noise: half width of the 95 % interval of the mean over other noise and fading, on just these images; None for a
            single trial.
        weight_sha256: sha256 of a learned system's weight (hex); of ``CODEC+NETWORK`` of both; None for others.
        data_sha256: sha256 of the images, in order (hex).
        masks_sha256: sha256 of their masks (hex), where the metric is of these.
        channel_uses: mean channel uses per image, header included.
        cpp: mean channel uses per pixel, header included.
        encode_ms: mean time per image of the encoder, in milliseconds.
        decode_ms: mean time per image of equalisation and decoder, in milliseconds.
        device: what it was computed on.
        versions: of Python and of the libraries that decide figures.
        commit: revision of the source tree, where known; with ``+`` where it had changes.
        error: what went wrong, where there is no figure.
        infinite: number of infinite values of the images x trials: the PSNR of identical images (C10).
        mean_finite: mean without the infinite values; None where there are none of them, or nothing else.
        account: how channel uses were counted and draws made: 2 since the header is coded and read (C4) and draws have seeds of
            128 bits (C12), else 1.
    """

    system: str
    weight: str
    metric: str
    channel: str
    snr_db: float
    ratio: float | None
    mean: float | None
    std: float | None
    ci95: float | None
    images: int
    trials: int
    bandwidth_ratio: float
    parameters: int | None
    macs_per_pixel: float | None
    data: str
    seed: int
    outage_rate: float = 0.0
    mean_arrived: float | None = None
    bound: bool = False
    tool: str | None = None
    told_snr_db: float | None = None
    task: str = "reconstruction"
    task_network: str | None = None
    task_network_sha256: str | None = None
    ci95_noise: float | None = None
    weight_sha256: str | None = None
    data_sha256: str | None = None
    masks_sha256: str | None = None
    channel_uses: float | None = None
    cpp: float | None = None
    encode_ms: float | None = None
    decode_ms: float | None = None
    device: str | None = None
    versions: dict[str, str] | None = None
    commit: str | None = None
    error: str | None = None
    infinite: int = 0
    mean_finite: float | None = None
    account: int = 1

    @property
    def shown_ci95(self) -> float | None:
        """``ci95`` for tables and figures: None of fewer than `FEWEST_PICTURES` images, where it says next to nothing."""
        return None if self.images < FEWEST_PICTURES else self.ci95

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: None for what is not finite."""
        values = dataclasses.asdict(self)
        return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()}


Kind = TypeVar("Kind", bound=Record)
NO_INTERVAL = f"no 95 % interval: there are fewer than {FEWEST_PICTURES} images"


def without_interval(records: Iterable[Record]) -> bool:
    """Whether a table of the records leaves out an interval, and has to say `NO_INTERVAL`."""
    return any(record.ci95 is not None and record.shown_ci95 is None for record in records)


def to_json(records: Iterable[Record]) -> str:
    """A JSON list, one object a record."""
    return json.dumps([record.to_dict() for record in records], indent=2, allow_nan=False)


def run_path(path: Path) -> Path:
    """The file of shared facts beside a CSV file: ``run.json`` of ``records.csv``, ``NAME.run.json`` of ``NAME.csv``."""
    return path.with_name(RUN) if path.name == RECORDS else path.with_suffix(f".{RUN}")


def write_records(path: Path, records: Iterable[Record], facts: Mapping[str, Any] | None = None) -> None:
    """Write records as a CSV file, one line each, and what all of them share as JSON beside it (`run_path`).

    Numbers are written so that reading gives the same bits. An empty cell is None; a cell of a table holds JSON.

    Args:
        path: the CSV file.
        records: all of one class.
        facts: further facts for the JSON file, as plain values; no key is a column's name.

    Raises:
        UsageError: the folder cannot be written.
    """
    rows = [record.to_dict() for record in records]
    names = [name for name in (rows[0] if rows else ()) if name not in LINE]
    shared = {name: rows[0][name] for name in names if len({json.dumps(row[name], allow_nan=False) for row in rows}) == 1}
    names = [*LINE, *(name for name in names if name not in shared)]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(names)
    lines.writerows([_cell(row[name]) for name in names] for row in rows)
    write_atomically(run_path(path), (json.dumps({**shared, **(facts or {})}, indent=1, allow_nan=False) + "\n").encode())
    write_atomically(path, text.getvalue().encode(errors="backslashreplace"))  # paths may have half characters


def read_records(path: Path, kind: type[Kind] = Record) -> list[Kind]:
    """Read what `write_records` wrote, or the JSON list that ``--json`` prints.

    Args:
        path: the CSV file, a folder with ``records.csv``, or a ``.json`` file.
        kind: `Record`, or a subclass with more columns.

    Raises:
        UsageError: no such file.
        IntegrityError: it does not hold records.
    """
    path = path / RECORDS if path.is_dir() else path
    try:
        return [_record(kind, row, f"{path}: record {number}") for number, row in enumerate(_rows(path, kind))]
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", "name a file of openjscc eval -o, or a folder of openjscc bench"
        ) from None
    except OpenJSCCError as error:
        raise IntegrityError(error.message, "write it again with openjscc eval -o") from None
    except (ValueError, csv.Error) as error:
        raise IntegrityError(f"{path} does not hold records: {error}", "write it again with openjscc eval -o") from None


def read_run(path: Path) -> dict[str, Any]:
    """The facts beside a CSV file of records; empty where there is no such file. Raises ValueError: it is no JSON object."""
    path = run_path(path)
    content = read_json(path.read_text("utf-8")) if path.exists() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not an object")
    return content


def _rows(path: Path, kind: type[Record]) -> list[dict[str, Any]]:
    """One mapping a record, from CSV and the shared facts, or from a JSON list."""
    text = path.read_bytes().decode("utf-8-sig")
    if path.suffix.lower() == ".json":
        return read_objects(text)
    lines = csv.reader(io.StringIO(text), strict=True)
    names, kinds = next(lines, []), typing.get_type_hints(kind)
    if missing := set(LINE) - set(names):
        raise ValueError(f"no column {min(missing)}")
    if unknown := set(names) - set(kinds):
        raise ValueError(f"unknown column {min(unknown)!r}")
    shared = {name: value for name, value in read_run(path).items() if name in kinds}
    if twice := set(names) & set(shared):
        raise ValueError(f"{min(twice)} is in the lines and in {run_path(path).name}")
    rows = []
    for number, cells in enumerate(lines, 2):
        if len(cells) != len(names):
            raise ValueError(f"line {number} has {len(cells)} cells, not {len(names)}")
        rows.append(shared | {name: _value(kinds[name], cell) for name, cell in zip(names, cells, strict=True)})
    return rows


def _cell(value: Any) -> str:
    """A value as a cell of CSV."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False)


def _value(kind: Any, cell: str) -> Any:
    """A cell as the type of its column."""
    kinds = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    if not cell and type(None) in kinds:
        return None
    return cell if str in kinds else read_json(cell)


def _record(kind: type[Kind], row: dict[str, Any], where: str) -> Kind:
    """A record of plain values. Raises UsageError as `build`, and for a figure that no measurement gives."""
    record = build(kind, row, where)
    for key, value in dataclasses.asdict(record).items():
        spread = key in ("std", "ci95", "ci95_noise")
        if isinstance(value, float) and (abs(value) > FIGURE_LIMIT or (spread and value < 0)):
            raise UsageError(f"{where}: {key} is {value:g}", "")
    return record
