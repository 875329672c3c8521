"""A benchmark: a grid of cells (system, channel, ratio, SNR), each measured once, stored, and never lost or repeated.

::

    DIR/cells/KEY.json     one cell: its facts, its records, the values of each image, a checksum
    DIR/pictures/          received images, where they are kept (`openjscc.bench.kept`)
    DIR/records.csv        the records of all cells of the last command, in its order; DIR/run.json: what they share

A cell's key is a hash of everything that its figures depend on, so a folder may hold cells of several commands, and the same
command again measures only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..channels import make_channel
from ..codec import Codec, CodecInfo, resolved_name
from ..configuration import build
from ..data.datasets import PictureDataset
from ..devices import exact_float32
from ..errors import IntegrityError, OpenJSCCError
from ..files import write_atomically
from ..link import Transmission
from ..tasks import TaskNetwork
from . import task_metrics
from .batches import BATCH_PIXELS, enumerate_batches, ordered_map, stacked, until
from .measure import Measured, computed_on, measure, nominal_ratio, to_records
from .point import FEWEST_TRIALS, FORMAT, Cell, Precision
from .records import ACCOUNT, Record
from .statistics import student_t_975
from .task_metrics import check_networks, open_masks, quantities, task_of

Keep = Callable[[Sequence[str], torch.Tensor, Transmission], None]


@dataclass(frozen=True)
class Plan:
    """What a command measures: the opened systems and their cells, in order.

    Attributes:
        codecs: by name as asked and resolved.
        cells: in the order of the command.
        networks: task networks by name and sha256.
        device: where metrics with networks of their own compute, see `openjscc.bench.measure.measure`.
        batch_pixels: neighbouring images of one size are sent together up to so many pixels.
    """

    codecs: dict[tuple[str, str], Codec]
    cells: tuple[Cell, ...]
    networks: dict[tuple[str, str], TaskNetwork] = field(default_factory=dict)
    device: torch.device | None = None
    batch_pixels: int = BATCH_PIXELS

    def codec(self, cell: Cell) -> Codec:
        return self.codecs[cell.system, cell.weight]

    def networks_of(self, cell: Cell) -> list[TaskNetwork]:
        """The task networks of a cell, in order."""
        return [self.networks[identity] for identity in cell.task_networks]

    def computed_on(self, cell: Cell) -> str:
        """Names of the devices that a cell is measured on, as its records have them."""
        return computed_on(self.codec(cell), cell.metrics, self.networks_of(cell), self.device)


def plan_cells(
    systems: Iterable[tuple[str, Codec, Sequence[float | None]]],
    dataset: PictureDataset,
    *,
    channels: Sequence[str],
    snr_db: Sequence[float],
    metrics: Sequence[str],
    precision: Precision,
    seed: int = 0,
    told_snr_db: float | None = None,
    networks: Sequence[TaskNetwork] = (),
    device: torch.device | None = None,
    batch_pixels: int = BATCH_PIXELS,
) -> Plan:
    """All cells of a grid.

    Args:
        systems: name as asked, the codec, and the ratios that it is asked for (None: its default).
        dataset: images.
        channels: specs.
        snr_db: average SNRs in dB.
        metrics: names.
        precision: number of trials.
        seed: of the experiment.
        told_snr_db: the SNR that the transmitter believes in; None: the true one.
        networks: whose view metrics of labels (accuracy, f1) are of.
        device: of the `Plan`.
        batch_pixels: of the `Plan`.

    Raises:
        UsageError: an unknown channel or metric, and what `openjscc.bench.task_metrics.check_networks` and
            `openjscc.bench.task_metrics.open_masks` refuse.
        MissingError: weights of a metric that are not to be had.
    """
    task_metrics.check_metrics(metrics)
    check_networks(metrics, dataset, networks)
    named = {(network.name, network.sha256): network for network in networks}
    codecs: dict[tuple[str, str], Codec] = {}
    cells = []
    for system, codec, ratios in systems:
        weight = CodecInfo(codec).weight
        resolved = resolved_name(codec)
        codecs[system, resolved] = codec
        masks = open_masks(metrics, dataset, codec)
        for channel in dict.fromkeys(make_channel(spec).name for spec in channels):
            for ratio in dict.fromkeys(nominal_ratio(codec, asked, task_of(metrics)) for asked in ratios):
                cells += [
                    Cell(
                        system, resolved, weight.sha256 if weight is not None else None, dataset.name, dataset.fingerprint(),
                        channel, ratio, float(snr), told_snr_db, tuple(metrics), precision, seed, tuple(named),
                        None if masks is None else masks.fingerprint(),
                    )
                    for snr in snr_db
                ]  # fmt: skip
    return Plan(codecs, tuple(cells), named, device, batch_pixels)


@dataclass(frozen=True)
class CellResult:
    """A measured cell, or what went wrong with it. What metrics of all images collected is not kept: it can be gigabytes."""

    cell: Cell
    records: tuple[Record, ...]
    measured: Measured | None

    @property
    def error(self) -> str | None:
        return self.records[0].error if self.records else None


def measure_cell(
    plan: Plan, cell: Cell, dataset: PictureDataset, *, jobs: int = 1, advance: Callable[[int], None] = lambda count: None,
    keep: Keep | None = None, keep_pictures: int = 0, extend: Callable[[int], None] = lambda count: None,
) -> CellResult:  # fmt: skip
    """`send_cell`, where an error becomes a record that says so."""
    try:
        return send_cell(
            plan, cell, dataset, jobs=jobs, advance=advance, keep=keep, keep_pictures=keep_pictures, extend=extend
        )  # fmt: skip
    except OpenJSCCError as error:
        return CellResult(cell, _failed(cell, plan.networks_of(cell), error.message), None)
    except Exception as error:  # a run of hours does not end for one cell: the record says what happened
        return CellResult(cell, _failed(cell, plan.networks_of(cell), f"{type(error).__name__}: {error}"), None)


def send_cell(
    plan: Plan, cell: Cell, dataset: PictureDataset, *, jobs: int = 1, advance: Callable[[int], None] = lambda count: None,
    keep: Keep | None = None, keep_pictures: int = 0, extend: Callable[[int], None] = lambda count: None,
) -> CellResult:  # fmt: skip
    """Send all images of a data set at one cell.

    Args:
        plan: has the system.
        cell: of the plan.
        dataset: the plan's.
        jobs: batches at work at the same time, in threads.
        advance: told the number of images after each batch and trial.
        keep: given ids of images, the batch that they begin, and its transmission, in the first trial.
        keep_pictures: only so many images from the first on.
        extend: told the number of images of trials beyond the least, before they are sent.
    """
    measured = _all_images(plan, cell, dataset, range(cell.precision.trials), jobs, advance, keep, keep_pictures)
    while (trials := _wanted(measured, cell.precision)) > 0:
        done = len(measured.arrived[0])
        more = range(done, min(done + trials, cell.precision.most))
        extend(len(more) * len(dataset))
        measured.add_trials(_all_images(plan, cell, dataset, more, jobs, advance, None, keep_pictures))
    records = to_records(
        plan.codec(cell), dataset, cell.point, measured, cell.metrics, system=cell.system, seed=cell.seed,
        told_snr_db=cell.told_snr_db, networks=plan.networks_of(cell), device=plan.device,
    )  # fmt: skip
    return CellResult(cell, tuple(records), replace(measured, collected={}))


def _all_images(
    plan: Plan, cell: Cell, dataset: PictureDataset, trials: range, jobs: int, advance: Callable[[int], None], keep: Keep | None,
    keep_pictures: int,
) -> Measured:  # fmt: skip
    """Some trials of all images, batch by batch."""
    codec, networks = plan.codec(cell), plan.networks_of(cell)
    numbered = enumerate_batches(dataset, CodecInfo(codec).pack, plan.batch_pixels)
    masks = open_masks(cell.metrics, dataset, codec)
    stop = threading.Event()
    advanced = until(stop, advance)

    def work(item: tuple[int, torch.Tensor]) -> Measured:
        first, x = item

        def kept(trial: int, result: Transmission) -> None:
            if keep is not None and trial == 0 and first < keep_pictures:
                keep(dataset.ids[first : min(first + len(x), keep_pictures)], x, result)

        return measure(
            codec,
            x,
            cell.point,
            cell.metrics,
            trials=trials,
            seed=cell.seed,
            told_snr_db=cell.told_snr_db,
            labels=None if dataset.labels is None else dataset.labels[first : first + len(x)],
            networks=networks,
            masks=None if masks is None else stacked(masks, first, len(x)),
            advance=advanced,
            keep=kept,
            device=plan.device,
        )

    total = Measured()
    with exact_float32():
        for part in ordered_map(work, numbered, jobs, stop):
            total.add_pictures(part)
    return total


def _wanted(measured: Measured, precision: Precision) -> int:
    """How many more trials the interval is expected to need; 0: it is narrow enough, or there is no more to be had."""
    done = len(measured.arrived[0])
    if precision.width is None or done >= precision.most:
        return 0
    if done < FEWEST_TRIALS:
        return min(FEWEST_TRIALS, precision.most) - done
    widths = [measured.noise_interval(key) or 0.0 for key in measured.keys(precision.metric)]
    width = max(widths, key=lambda value: math.inf if math.isnan(value) else value)  # the widest: of several task networks
    if not width > precision.width:  # also where it is undefined: infinite values get no better
        return 0
    spread = width * done**0.5 / student_t_975(done - 1)
    needed = round((2.0 * spread / precision.width) ** 2 + 1)
    return max(1, min(needed, 2 * done) - done)


def _failed(cell: Cell, networks: Sequence[TaskNetwork], message: str) -> tuple[Record, ...]:
    return tuple(
        Record(
            system=cell.system, weight=cell.weight, metric=asked.metric, channel=cell.channel, snr_db=cell.snr_db,
            ratio=cell.ratio, mean=None, std=None, ci95=None, images=0, trials=0, bandwidth_ratio=cell.ratio or 0.0,
            parameters=None, macs_per_pixel=None, data=cell.data, seed=cell.seed, told_snr_db=cell.told_snr_db,
            weight_sha256=cell.weight_sha256, data_sha256=cell.data_sha256, masks_sha256=cell.masks_sha256, error=message,
            task=cell.task, account=ACCOUNT,
            task_network=None if asked.network is None else asked.network.name,
            task_network_sha256=None if asked.network is None else asked.network.sha256,
        )
        for asked in quantities(cell.metrics, networks)
    )  # fmt: skip


def cell_path(folder: Path, cell: Cell) -> Path:
    return folder / "cells" / f"{cell.key}.json"


def store(folder: Path, result: CellResult, ids: Sequence[str]) -> None:
    """Write a measured cell, whole or not at all. One that failed is not stored: the next run tries it again."""
    if result.measured is None:
        return
    path = cell_path(folder, result.cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "cell": asdict(result.cell),
        "records": [record.to_dict() for record in result.records],
        "pictures": {"ids": list(ids), **_finite(asdict(result.measured))},
    }
    text = json.dumps(content, allow_nan=False).encode().removesuffix(b"}")
    write_atomically(path, text + _seal(text))


def _seal(text: bytes) -> bytes:
    """The end of a cell's file: the checksum of all before it, as the last value of the JSON object."""
    return f', "sha256": "{hashlib.sha256(text).hexdigest()}"}}\n'.encode()


def stored(folder: Path, cell: Cell) -> CellResult | None:
    """A cell that was measured before; None where it was not.

    Raises:
        IntegrityError: the file is not what `store` wrote for this cell.
    """
    path = cell_path(folder, cell)
    if not path.exists():
        return None
    try:
        data = path.read_bytes()
        text = data[: -len(_seal(b""))]
        if data != text + _seal(text):
            raise ValueError("its checksum is wrong")
        content = json.loads(data)
        if content["format"] != FORMAT or content["cell"] != json.loads(json.dumps(asdict(cell))):
            raise ValueError("it is of another cell")
        records = tuple(build(Record, record, str(path)) for record in content["records"])
        measured = Measured(**{key: value for key, value in content["pictures"].items() if key != "ids"})
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OpenJSCCError) as error:
        raise IntegrityError(f"{path} is damaged: {error}", "remove it; the same command measures the cell again") from None
    return CellResult(cell, records, measured)


def _finite(value: Any) -> Any:
    """JSON has no infinity: None stands for it."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
