"""What a study has to measure: its grids opened and merged, its strips as grids of one image. Checked before the work."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..bench.cells import Plan, plan_cells
from ..bench.point import Cell, Precision
from ..bench.records import ACCOUNT, Record
from ..bench.task_metrics import Quantity, missing_metrics, open_classifier, open_networks, quantities
from ..codec import Codec, CodecInfo
from ..data.datasets import DATASETS, PictureDataset, open_dataset
from ..errors import MissingError, OpenJSCCError, UsageError, unknown_name
from ..metrics import get_metric
from ..report.layout import arrange
from ..report.select import select
from ..systems import load_all
from ..tasks import TaskNetwork
from .differences import check_difference
from .gains import check_gain
from .sections import BenchSection
from .shown import HeatmapSection, StripSection
from .spec import Study

Systems = list[tuple[str, Codec, tuple[float | None, ...]]]


@dataclass(frozen=True)
class Grid:
    """Images, and what is measured on them."""

    dataset: PictureDataset
    plan: Plan


@dataclass(frozen=True)
class StripPlan:
    """A strip.

    Attributes:
        section: what is shown.
        grids: one for each image, with a data set of that one.
        ratios: nominal, one for each system where each is asked for its own; else empty.
        network: whose view is said, if any.
        labels: the true class by image, where the data set has labels and there is a network.
    """

    section: StripSection
    grids: tuple[Grid, ...]
    ratios: tuple[float | None, ...]
    network: TaskNetwork | None
    labels: Mapping[str, str]


@dataclass(frozen=True)
class HeatmapPlan:
    """Heat maps.

    Attributes:
        section: what is shown.
        pictures: a data set of one image for each.
        network: whose gradients.
        labels: as in `StripPlan`.
    """

    section: HeatmapSection
    pictures: tuple[PictureDataset, ...]
    network: TaskNetwork
    labels: Mapping[str, str]


@dataclass(frozen=True)
class StudyPlan:
    """All work of a study.

    Attributes:
        grids: one for each number of images.
        strips: one for each strip.
        heatmaps: one for each section of heat maps.
        missing: metrics that are left out, and why.
    """

    grids: tuple[Grid, ...]
    strips: tuple[StripPlan, ...]
    heatmaps: tuple[HeatmapPlan, ...]
    missing: Mapping[str, str]

    @property
    def cells(self) -> list[Cell]:
        """Those that figures and tables are made of."""
        return [cell for grid in self.grids for cell in grid.plan.cells]

    @property
    def codecs(self) -> list[Codec]:
        grids = [*self.grids, *(grid for strip in self.strips for grid in strip.grids)]
        return list({name: codec for grid in grids for name, codec in grid.plan.codecs.items()}.values())


def plan_study(
    study: Study, data_dir: str | os.PathLike[str] | None = None, limit: int | None = None, device: torch.device | None = None
) -> StudyPlan:
    """Open everything that a study needs.

    Args:
        study: which.
        data_dir: where named data sets are kept.
        limit: only the first so many images of each grid.
        device: where networks compute but for those of strips and heat maps, which look at a few images; None: the CPU.

    Raises:
        MissingError: data, weights, a library, or the weights of all metrics.
        UsageError: a system, ratio, image or condition that does not exist.
    """
    if study.figure and importlib.util.find_spec("matplotlib") is None:
        raise MissingError("drawing needs matplotlib, which is not installed", 'pip install "openjscc[plot]"')
    opened = _Opened(study, data_dir, device)
    limits = [_least(bench.limit, limit) for bench in study.bench]
    for most in limits:  # before any download: the data set may not be there
        opened.images(most)
    missing = missing_metrics(metric for bench in study.bench for metric in bench.metrics)
    plans: dict[int, list[Plan]] = {}
    sizes: dict[int, PictureDataset] = {}
    for bench, most in zip(study.bench, limits, strict=True):
        metrics = [name for name in dict.fromkeys(bench.metrics) if name not in missing]
        dataset = opened.images(most)
        sizes.setdefault(len(dataset), dataset)
        if metrics:
            plans.setdefault(len(dataset), []).append(opened.plan(bench, sizes[len(dataset)], metrics))
    plan = StudyPlan(
        tuple(Grid(sizes[size], _merged(some)) for size, some in plans.items()),
        tuple(_strip_plan(section, opened) for section in study.strip),
        tuple(_heatmap_plan(section, opened) for section in study.heatmap),
        missing,
    )
    _check_pages(study, plan)
    return plan


class _Opened:
    """Data sets, systems and task networks of a study, each opened once."""

    def __init__(self, study: Study, data_dir: str | os.PathLike[str] | None, device: torch.device | None) -> None:
        self._study, self._data_dir, self._device = study, data_dir, device
        self._systems: dict[tuple[tuple[str, ...], tuple[float | None, ...]], Systems] = {}
        self._datasets: dict[int | None, PictureDataset] = {}
        self._networks: dict[tuple[str, ...], tuple[TaskNetwork, ...]] = {}

    def images(self, most: int | None = None) -> PictureDataset:
        """The first so many images of the study's data."""
        if most not in self._datasets:
            self._datasets[most] = open_dataset(self._study.data, self._data_dir, split="test", limit=most, cache_mib=1024)
        return self._datasets[most]

    def plan(self, bench: BenchSection, dataset: PictureDataset, metrics: Sequence[str]) -> Plan:
        """The cells of a section on a data set."""
        where, device = (bench.systems, bench.ratios), self._device or "cpu"
        if where not in self._systems:
            self._systems[where] = load_all(*where, self._study.data if self._study.data in DATASETS else None, device)
        systems = self._systems[where]
        bounds = [name for name, codec, _ in systems if CodecInfo(codec).bound]
        if bounds and bench.told_snr_db is not None:
            raise UsageError(f"told_snr_db with {bounds[0]}", "a bound is for a transmitter that knows the SNR: measure it apart")
        of_labels = any(get_metric(metric).needs == "labels" for metric in metrics)
        if of_labels and bench.task_network not in self._networks:
            self._networks[bench.task_network] = open_networks(bench.task_network or None, metrics, dataset, device)
        return plan_cells(
            systems, dataset, channels=bench.channel, snr_db=list(dict.fromkeys(bench.snr_db)), metrics=metrics,
            precision=Precision(bench.trials, most=max(bench.trials, 100)), seed=bench.seed, told_snr_db=bench.told_snr_db,
            networks=self._networks[bench.task_network] if of_labels else (), device=self._device,
        )  # fmt: skip


def _least(*limits: int | None) -> int | None:
    return min((most for most in limits if most is not None), default=None)


def _strip_plan(section: StripSection, opened: _Opened) -> StripPlan:
    shown = several_pictures(opened.images(), section.pictures)
    for dataset in shown:
        _check_crop(section, dataset)
    network = open_classifier(section.task_network, opened.images()) if section.task_network else None
    sent = [[opened.plan(bench, dataset, bench.metrics) for bench in section.benches] for dataset in shown]
    grids = tuple(Grid(dataset, _merged(some)) for dataset, some in zip(shown, sent, strict=True))
    meant = {
        (cell.system, bench.ratios): cell.ratio
        for bench, plan in zip(section.benches, sent[0], strict=True)
        for cell in plan.cells
    }
    ratios = tuple(meant[name, (ratio,)] for name, ratio in zip(section.systems, section.ratios, strict=False))
    return StripPlan(section, grids, ratios, network, _true_classes(opened.images(), shown, network))


def _heatmap_plan(section: HeatmapSection, opened: _Opened) -> HeatmapPlan:
    shown = several_pictures(opened.images(), section.pictures)
    network = open_classifier(section.task_network, opened.images())
    for dataset in shown:
        _check_size(section, dataset, network)
    return HeatmapPlan(section, shown, network, _true_classes(opened.images(), shown, network))


def _merged(plans: Sequence[Plan]) -> Plan:
    codecs = {name: codec for plan in plans for name, codec in plan.codecs.items()}
    networks = {identity: network for plan in plans for identity, network in plan.networks.items()}
    return Plan(codecs, tuple(dict.fromkeys(cell for plan in plans for cell in plan.cells)), networks, plans[0].device)


def one_picture(dataset: PictureDataset, name: str) -> PictureDataset:
    """A data set of one image of another, with its mask, by its id; the suffix may be left out."""
    found = [number for number, item in enumerate(dataset.ids) if name in (item, Path(item).stem)]
    if not found:
        raise unknown_name("picture", name, dataset.ids)
    if dataset.masks is not None:
        return dataset.some(found[:1])
    pixels = dataset[found[0]].permute(1, 2, 0).numpy()[None]
    return PictureDataset(dataset.name, dataset.split, [dataset.ids[found[0]]], array=pixels)


def several_pictures(dataset: PictureDataset, names: Sequence[str]) -> tuple[PictureDataset, ...]:
    """`one_picture` for each name. Raises UsageError as that, and for two names of one image."""
    found = tuple(one_picture(dataset, name) for name in names)
    ids = [one.ids[0] for one in found]
    if twice := [name for name in ids if ids.count(name) > 1]:
        raise UsageError(f"picture {twice[0]!r} is named twice", "name each once")
    return found


def _true_classes(
    dataset: PictureDataset, shown: Sequence[PictureDataset], network: TaskNetwork | None
) -> dict[str, str]:  # fmt: skip
    """Names of the labels by image."""
    if network is None or dataset.labels is None:
        return {}
    ids = [one.ids[0] for one in shown]
    return {name: network.classes[int(dataset.labels[dataset.ids.index(name)])] for name in ids}


def _check_size(section: HeatmapSection, dataset: PictureDataset, network: TaskNetwork) -> None:
    height, width = dataset[0].shape[1:]
    if network.input_size not in (None, (height, width)):
        made = "{1}x{0}".format(*network.input_size)
        raise UsageError(
            f"{section.file}: {dataset.ids[0]} has {width}x{height} pixels, the task network {network.name!r} is for {made}",
            "gradients are of the network's own size: choose another network or data set",
        )


def _check_crop(section: StripSection, dataset: PictureDataset) -> None:
    height, width = dataset[0].shape[1:]
    if section.crop is not None:
        x, y, across, down = section.crop
        if x + across > width or y + down > height:
            raise UsageError(
                f"{section.file}: crop {list(section.crop)} reaches beyond the picture", f"stay within {width}x{height}"
            )


def _check_pages(study: Study, plan: StudyPlan) -> None:
    """Whether every figure and table will have its records, and one value for every place."""
    records = [
        _expected(cell, quantity, len(grid.dataset), number)
        for grid in plan.grids
        for number, cell in enumerate(grid.plan.cells)
        for quantity in quantities(cell.metrics, grid.plan.networks_of(cell))
    ]
    for section in study.figure:
        if section.y not in plan.missing:
            _check_page(section.file, records, section.systems, section.conditions, section.x, section.y, section.facet)
            section.chart({}).reference(select(records, section.conditions, section.systems or None))
    for section in study.table:
        if section.metric not in plan.missing:
            what = f"table of {section.metric}"
            _check_page(what, records, section.systems, section.conditions, section.x, section.metric, section.facet)
    for section in study.gain:
        if section.metric not in plan.missing:
            check_gain(section, records)
    for section in study.difference:
        if section.metric not in plan.missing:
            check_difference(section, records)


def _check_page(what: str, records: list[Record], systems: Iterable[str], where: Mapping, x: str, y: str, facet) -> None:
    try:
        arrange(select(records, where, tuple(systems) or None), x, y, facet)
    except OpenJSCCError as error:
        raise UsageError(f"{what}: {error.message}", error.hint) from None


def _expected(cell: Cell, quantity: Quantity, images: int, number: int) -> Record:
    """A record as a cell will give it, but for its values. Of them only the times (``number``) differ between all cells."""
    facts = {
        name: getattr(cell, name) for name in ("system", "weight", "channel", "snr_db", "ratio", "told_snr_db", "data", "seed")
    }
    blank = Record(
        **facts, metric=quantity.metric, mean=0.0, std=0.0, ci95=0.0, images=images, trials=cell.precision.trials,
        account=ACCOUNT, bandwidth_ratio=cell.ratio or 0.1, parameters=1, macs_per_pixel=1.0,
    )  # fmt: skip
    network = None if quantity.network is None else quantity.network.name
    return replace(
        blank, weight_sha256=cell.weight_sha256, data_sha256=cell.data_sha256, masks_sha256=cell.masks_sha256, task=cell.task,
        ci95_noise=0.0, channel_uses=1.0,
        encode_ms=float(number), decode_ms=float(number), task_network=network,
    )  # fmt: skip
