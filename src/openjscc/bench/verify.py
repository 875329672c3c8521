"""Records measured again: a few cells, drawn at random, on the same weights and images."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..composite import CompositeCodec
from ..data.datasets import DATASETS, PictureDataset, open_dataset
from ..data.masks import masks_of
from ..errors import IntegrityError, MissingError, UsageError
from ..metrics import get_metric
from ..models import read_info, weight_files
from ..systems import composite_parts, load, load_all, split_options
from ..tasks import TaskNetwork, load_task_network
from .cells import CellResult, Plan, measure_cell, plan_cells
from .point import Precision
from .records import RECORDS, Record
from .task_metrics import missing_metrics

TOLERANCE_DB = 0.02
TOLERANCE = 0.002
"""Of everything that is not in dB. The same seed gives the same noise: what is left is rounding."""

_CELL = (
    "system", "weight", "weight_sha256", "data", "data_sha256", "masks_sha256", "channel", "ratio", "snr_db", "told_snr_db",
    "task", "images", "trials", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """One figure, then and now.

    Attributes:
        record: then.
        quantity: metric (and task network), or ``lost`` (share).
        recorded: then; None: not finite.
        measured: now.
        tolerance: largest difference that is one of rounding or (over several trials) of other noise.
        ok: within it.
        error: why there is no figure now.
    """

    record: Record
    quantity: str
    recorded: float | None
    measured: float | None
    tolerance: float
    ok: bool
    error: str | None = None


@dataclass(frozen=True)
class Recheck:
    """The cells that are measured again.

    Attributes:
        cells: the records of each, with what it takes to measure them.
        total: how many cells there are.
        missing: metrics that cannot be had here, and why.
    """

    cells: tuple[tuple[list[Record], Plan, PictureDataset], ...]
    total: int
    missing: dict[str, str]


def plan_recheck(
    records: Sequence[Record], count: int, seed: int = 0, data_dir: str | os.PathLike[str] | None = None,
    networks: Iterable[str] = (), device: torch.device | None = None,
) -> Recheck:  # fmt: skip
    """Draw cells, after making sure that all weights and images are the ones that the records were made with.

    Args:
        records: of a study.
        count: how many cells.
        seed: of the drawing.
        data_dir: where named data sets are kept.
        networks: where task networks are that their names do not lead to, as `openjscc.tasks.load_task_network` takes them.
        device: where networks compute; None: the CPU. It need not be that of the records.

    Raises:
        UsageError: no record has a figure. MissingError: a weight, data set, or the weights of all metrics.
        IntegrityError: other weights, task networks or images; names them.
    """
    cells: dict[tuple, list[Record]] = {}
    for record in records:
        if record.error is None:
            cells.setdefault(tuple(getattr(record, name) for name in _CELL), []).append(record)
    if not cells:
        raise UsageError("no record has a figure", "run the study first")
    datasets = _same_data(records, data_dir)
    for system, weight, digest in dict.fromkeys((r.system, r.weight, r.weight_sha256) for r in records):
        if digest is not None and (found := _sha256(system, weight)) != digest:
            raise IntegrityError(
                f"{weight} is another weight: sha256 {found[:16]}, the records were made with {digest[:16]}",
                "get that weight again, or run the study again in another folder",
            )
    opened = {name: network.to(device or "cpu") for name, network in _same_networks(records, networks).items()}
    missing = missing_metrics(record.metric for record in records)
    drawn = random.Random(seed).sample(list(cells.values()), min(count, len(cells)))
    planned = []
    for some in drawn:
        some = [record for record in some if record.metric not in missing]
        if some:
            dataset = datasets[some[0].data, some[0].images]
            planned.append((some, _plan(some, dataset, opened, device), dataset))
    return Recheck(tuple(planned), len(cells), missing)


def recheck(
    plan: Recheck, jobs: Callable[[str], int] = lambda system: 1, advance: Callable[[int], None] = lambda count: None
) -> list[Comparison]:
    """Measure the cells and compare.

    The same seed must give the same figure to `TOLERANCE_DB` or `TOLERANCE`. Over several trials, that of a digital link may lie
    within the record's interval over noise where that is wider: rounding can lose a block, or save it.
    """
    compared: list[Comparison] = []
    for records, cell_plan, dataset in plan.cells:
        (cell,) = cell_plan.cells
        result = measure_cell(cell_plan, cell, dataset, jobs=jobs(cell.system), advance=advance)
        compared += _compared(records, result)
    return compared


def _same_data(records: Sequence[Record], data_dir: str | os.PathLike[str] | None) -> dict[tuple[str, int], PictureDataset]:
    datasets: dict[tuple[str, int], PictureDataset] = {}
    for name, images, digest in dict.fromkeys((r.data, r.images, r.data_sha256) for r in records if r.error is None):
        dataset = open_dataset(name, data_dir, split="test", limit=images, cache_mib=1024)
        if digest is not None and dataset.fingerprint() != digest:
            raise IntegrityError(
                f"{name}: other pictures: sha256 {dataset.fingerprint()[:16]}, the records were made with {digest[:16]}",
                "name the folder with the same pictures, or run the study again in another folder",
            )
        datasets[name, images] = dataset
    for name, images, digest in dict.fromkeys((r.data, r.images, r.masks_sha256) for r in records if r.error is None):
        if digest is not None and (found := masks_of(datasets[name, images]).fingerprint()) != digest:
            raise IntegrityError(
                f"{name}: other masks: sha256 {found[:16]}, the records were made with {digest[:16]}",
                "name the folder with the same masks, or run the study again in another folder",
            )
    return datasets


def _same_networks(records: Sequence[Record], named: Iterable[str]) -> dict[str, TaskNetwork]:
    """Task networks by name."""
    given = {network.name: network for network in map(load_task_network, named)}
    networks: dict[str, TaskNetwork] = {}
    for name, digest in dict.fromkeys((r.task_network, r.task_network_sha256) for r in records if r.task_network is not None):
        try:
            networks[name] = given[name] if name in given else load_task_network(name)
        except UsageError as error:
            raise UsageError(error.message, "the records are of that network: name its file with --task-network") from None
        if (found := networks[name].sha256) != digest:
            raise IntegrityError(
                f"{name} is another task network: sha256 {found[:16]}, the records were made with {(digest or '')[:16]}",
                "get that one again, or run the study again in another folder",
            )
    return networks


def _sha256(system: str, weight: str) -> str:
    """Of the weight that a record's system means now."""
    if composite_parts(system) is None:
        return read_info(_weight_path(system, weight)).sha256
    codec = load(system if os.sep in system else weight)
    assert isinstance(codec, CompositeCodec)
    return codec.weight.sha256


def _weight_path(system: str, weight: str) -> Path:
    if _is_file(system):
        return Path(split_options(system)[0])
    weight = split_options(weight)[0]
    if weight not in weight_files():
        raise MissingError(
            f"no weight {weight}", "openjscc models list shows those at hand; OPENJSCC_WEIGHTS names a folder of more"
        )
    return weight_files()[weight]


def _is_file(system: str) -> bool:
    """Whether a system is named by the file of its weight."""
    return os.sep in system or ".safetensors" in system


def _plan(
    records: Sequence[Record], dataset: PictureDataset, networks: dict[str, TaskNetwork], device: torch.device | None
) -> Plan:
    """A plan of the one cell that the records are of."""
    first = records[0]
    exact = first.system if first.weight_sha256 is None or _is_file(first.system) else first.weight
    try:
        data = first.data if first.data in DATASETS else None
        ((_, codec, ratios),) = load_all([exact], (first.ratio,), data, device or "cpu")
    except UsageError as error:
        raise UsageError(f"{RECORDS}: {error.message}", error.hint) from None
    looked_by = dict.fromkeys(record.task_network for record in records if record.task_network is not None)
    return plan_cells(
        [(first.system, codec, ratios)], dataset, channels=[first.channel], snr_db=[first.snr_db],
        metrics=list(dict.fromkeys(record.metric for record in records)),
        precision=Precision(first.trials, most=first.trials), seed=first.seed,
        told_snr_db=first.told_snr_db, networks=[networks[name] for name in looked_by],
        device=device,
    )  # fmt: skip


def _compared(records: Sequence[Record], result: CellResult) -> list[Comparison]:
    fresh = {(record.metric, record.task_network): record for record in result.records}
    compared = []
    for record in records:
        now = fresh[record.metric, record.task_network]
        measured = None if now.mean is None or not math.isfinite(now.mean) else now.mean
        tolerance = _tolerance(record)
        quantity = record.metric if record.task_network is None else f"{record.metric} ({record.task_network})"
        compared.append(_comparison(record, quantity, record.mean, measured, tolerance, now.error))
    then, now = records[0], fresh[records[0].metric, records[0].task_network]
    if now.error is None and (then.outage_rate or now.outage_rate):
        compared.append(_comparison(then, "lost", then.outage_rate, now.outage_rate, _tolerance_of_loss(then), None))
    return compared


def _comparison(
    record: Record, quantity: str, recorded: float | None, measured: float | None, tolerance: float, error: str | None
) -> Comparison:
    if recorded is None or measured is None:
        same = error is None and recorded is None and measured is None
    else:
        same = abs(recorded - measured) <= tolerance
    return Comparison(record, quantity, recorded, measured, tolerance, same, error)


def _tolerance(record: Record) -> float:
    metric = get_metric(record.metric)
    least = TOLERANCE_DB if metric.unit == "dB" else TOLERANCE
    if metric.kind == "set":
        least = max(least, abs(record.mean or 0.0) / 1000)
    interval = record.ci95_noise if record.trials > 1 and record.weight_sha256 is None else None
    return max(least, interval) if interval is not None and math.isfinite(interval) else least


def _tolerance_of_loss(record: Record) -> float:
    if record.trials == 1 or record.weight_sha256 is not None:
        return TOLERANCE
    share = record.outage_rate
    return max(TOLERANCE, 1.96 * math.sqrt(share * (1 - share) / (record.images * record.trials)))
