"""One point of a sweep: what was measured there on every image in every trial, and the records that follow from it."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..channels import make_channel
from ..codec import Codec, CodecInfo, device_of, resolved_name
from ..data.datasets import PictureDataset
from ..errors import UsageError
from ..link import Transmission, deliver, encode
from ..metrics import SetMetric, get_metric
from ..metrics.task import confusion_entries
from ..models import LearnedCodec
from ..models._base import RATIO_TOLERANCE
from ..tasks import TaskNetwork, perceive
from ..units import format_ratio
from .point import Point
from .provenance import commit, device_name, versions
from .records import ACCOUNT, Record
from .statistics import FEWEST_PICTURES, Summary, between_95, half_width_95, resampled, summarise
from .task_metrics import RECONSTRUCTION, SEGMENTATION, Quantity, metric_of, open_masks, quantities, task_of


class Figure(NamedTuple):
    """One figure of a point.

    Attributes:
        summary: mean, spread and interval over all images and trials.
        mean_arrived: the mean of what arrived; None: nothing did, or that cannot be told apart.
        infinite: how many values are.
        mean_finite: the mean without them; None where there are none of them, or nothing else.
    """

    summary: Summary
    mean_arrived: float | None
    infinite: int = 0
    mean_finite: float | None = None


@dataclass
class Measured:
    """All values of one point. Tables have a row per image and a column per trial.

    Attributes:
        values: per metric of single images (`openjscc.bench.task_metrics.Quantity.key`); table.
        collected: per metric of all images together, what `openjscc.metrics.Metric.collect` made of each; table.
        replicates: per metric of those that can be resampled (`resample`), see `openjscc.bench.statistics.resampled`.
        arrived: whether an image arrived; table.
        uses: channel uses, header included; table.
        pixels: H*W of each image.
        encode_ms: time of the encoder per image; table. It runs once for all trials of one `measure`.
        decode_ms: time of equalisation and decoder per image; table.
    """

    values: dict[str, list[list[float]]] = field(default_factory=dict)
    arrived: list[list[bool]] = field(default_factory=list)
    uses: list[list[int]] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)
    encode_ms: list[list[float]] = field(default_factory=list)
    decode_ms: list[list[float]] = field(default_factory=list)
    collected: dict[str, list[list[np.ndarray]]] = field(default_factory=dict)
    replicates: dict[str, list[float]] = field(default_factory=dict)

    def add_pictures(self, other: Measured) -> None:
        """More images in the same trials."""
        for mine, theirs in self._tables(other):
            mine += theirs
        self.pixels += other.pixels

    def add_trials(self, other: Measured) -> None:
        """The same images in more trials."""
        for mine, theirs in self._tables(other):
            for row, more in zip(mine, theirs, strict=True):
                row += more

    def _tables(self, other: Measured) -> list[tuple[list, list]]:
        tables: list[tuple[list, list]] = []
        for mine, theirs in ((self.values, other.values), (self.collected, other.collected)):
            tables += [(mine.setdefault(name, []), rows) for name, rows in theirs.items()]
        return [
            *tables, (self.arrived, other.arrived), (self.uses, other.uses), (self.encode_ms, other.encode_ms),
            (self.decode_ms, other.decode_ms),
        ]  # fmt: skip

    def keys(self, metric: str) -> list[str]:
        """Of a metric, by all task networks."""
        return [key for key in (*self.values, *self.collected) if metric_of(key) == metric]

    def noise_interval(self, key: str) -> float | None:
        """Half width of the 95 % interval of the mean over just these images; None for one trial.

        Each trial gives one mean over the images; the trials are independent of one another.
        """
        return half_width_95(self.by_trial(key))

    def resample(self) -> None:
        """Fills `replicates`, once all images and trials are there."""
        for key, entries in self.collected.items():
            metric = get_metric(metric_of(key))
            if isinstance(metric, SetMetric) and metric.additive and len(entries) >= FEWEST_PICTURES:
                self.replicates[key] = resampled(entries, metric.reduce).tolist()

    def figure(self, key: str) -> Figure:
        """The figure of a `openjscc.bench.task_metrics.Quantity.key`. `resample` comes first."""
        all_arrived = all(ok for row in self.arrived for ok in row)
        if key in self.values:
            rows = self.values[key]
            summary = summarise(rows, share=get_metric(metric_of(key)).kind == "task")
            kept = [value for row, oks in zip(rows, self.arrived, strict=True) for value in itertools.compress(row, oks)]
            infinite = sum(math.isinf(value) for row in rows for value in row)
            finite = [value for row in rows for value in row if math.isfinite(value)] if infinite else []
            mean_arrived = summary.mean if all_arrived else fmean(kept) if kept else None
            return Figure(summary, mean_arrived, infinite, fmean(finite) if finite else None)
        # a figure of all images has no spread over them, and none without the lost ones
        mean = fmean(self.by_trial(key))
        bounds = between_95(self.replicates[key]) if key in self.replicates else None
        half = None if bounds is None else (bounds[1] - bounds[0]) / 2
        return Figure(Summary(mean, None, half, len(self.arrived), len(self.arrived[0])), mean if all_arrived else None)

    def by_trial(self, key: str) -> list[float]:
        """The figure of all images, for each trial."""
        if key in self.values:
            return [fmean(column) for column in zip(*self.values[key], strict=True)]
        reduce = get_metric(metric_of(key)).reduce
        return [reduce(column) for column in zip(*self.collected[key], strict=True)]


def measure(
    codec: Codec, x: torch.Tensor, point: Point, metrics: Sequence[str], *, trials: range, seed: int,
    told_snr_db: float | None = None, labels: torch.Tensor | None = None, networks: Sequence[TaskNetwork] = (),
    masks: torch.Tensor | None = None, advance: Callable[[int], None] = lambda count: None,
    keep: Callable[[int, Transmission], None] | None = None, device: torch.device | None = None,
) -> Measured:  # fmt: skip
    """Send B images ``(B, 3, H, W)`` at one point, once per trial. They are encoded once.

    Args:
        codec: the system.
        x: images in [0, 1].
        point: channel, ratio, SNR.
        metrics: names, all of one task (`openjscc.bench.task_metrics.task_of`); that is what the codec is asked for.
        trials: numbers of the trials; seed: of the experiment.
        told_snr_db: the SNR that the transmitter believes in; None: the true one.
        labels: class numbers, int64 ``(B,)``, for metrics of labels.
        networks: whose view such metrics are of; a lost image is looked at as the grey one that stands for it.
        masks: class numbers, integers ``(B, H, W)``, for metrics of segmentations.
        advance: told B after each trial.
        keep: given the trial and what happened, to store images.
        device: where metrics with networks of their own (LPIPS, ...) compute; None: where the images arrive. Codec and task
            networks compute where they are.

    Raises:
        UsageError: a codec that does not do the task, a metric of labels without a network, a network without labels, metrics of
            segmentations without masks.
    """
    if networks and labels is None:
        raise UsageError(f"a task network ({networks[0].name}), but no labels", "give the class numbers of the pictures")
    task = task_of(metrics)
    if task == SEGMENTATION and masks is None:
        raise UsageError(f"{metrics[0]}, but no masks", "give the class numbers of the pictures' pixels")
    arrived, uses, times = [], [], []
    told = "same" if told_snr_db is None else told_snr_db
    sent = encode(codec, point.channel, x, point.snr_db, ratio=point.ratio, task=task, told_snr_db=told)
    values = _Values(quantities(metrics, networks), sent.x, labels, networks, device)
    for trial in trials:
        result = deliver(codec, sent, seed=seed, trial=trial)
        ok = result.reconstruction.ok
        arrived.append(torch.ones(len(x), dtype=torch.bool) if ok is None else ok.cpu())
        uses.append(result.frame.length.cpu())
        times.append((result.encode_ms / len(x), result.decode_ms / len(x)))
        if keep is not None:
            keep(trial, result)
        advance(len(x))
        if masks is not None and task == SEGMENTATION:
            values.add_segmentation(_scores(codec, result), masks)
        elif result.image is not None:
            values.add_image(result.image)
        else:
            raise UsageError(f"{codec.name} gives no picture", "choose a system whose task is reconstruction")
    return Measured(
        values={name: torch.stack(column, dim=1).tolist() for name, column in values.columns.items()},
        arrived=torch.stack(arrived, dim=1).tolist(),
        uses=torch.stack(uses, dim=1).tolist(),
        pixels=[x[0, 0].numel()] * len(x),
        encode_ms=[[encode for encode, _ in times] for _ in range(len(x))],
        decode_ms=[[decode for _, decode in times] for _ in range(len(x))],
        collected={name: [list(row) for row in zip(*trial, strict=True)] for name, trial in values.entries.items()},
    )


class _Values:
    """What metrics say of received images or segmentations, trial by trial.

    Attributes:
        columns: per metric of single images, a value of each in every trial.
        entries: per metric of all images together, what it collected of each in every trial.
    """

    def __init__(
        self, asked: Sequence[Quantity], x: torch.Tensor, labels: torch.Tensor | None, networks: Sequence[TaskNetwork],
        device: torch.device | None,
    ) -> None:  # fmt: skip
        self._asked, self._x, self._labels, self._device = asked, x, labels, device
        self._eyes = [_Eyes(network) for network in networks]
        self.columns: dict[str, list[torch.Tensor]] = {}
        self.entries: dict[str, list[list[np.ndarray]]] = {}

    def add_segmentation(self, scores: torch.Tensor, masks: torch.Tensor) -> None:
        counted = confusion_entries(scores, masks)
        for quantity in self._asked:
            self.entries.setdefault(quantity.key, []).append(counted)

    def add_image(self, image: torch.Tensor) -> None:
        received = image.to(self._x.device)
        seen = {each.network.name: each.scores(received) for each in self._eyes}
        for quantity in self._asked:
            metric = get_metric(quantity.metric)
            there = self._device if self._device is not None and metric.needs == "weights" else received.device
            pair = self._x.to(there), received.to(there)
            if metric.kind == "picture":
                self.columns.setdefault(quantity.key, []).append(metric.function(*pair).cpu())
                continue
            if quantity.network is None or self._labels is None:
                found = metric.collect(*pair)
            else:
                found = metric.collect(seen[quantity.network.name], self._labels)
            if isinstance(metric, SetMetric) and metric.single is not None:
                self.columns.setdefault(quantity.key, []).append(torch.tensor([metric.single(entry) for entry in found]))
            else:
                self.entries.setdefault(quantity.key, []).append(found)


def _scores(codec: Codec, result: Transmission) -> torch.Tensor:
    """Class scores ``(B, classes, H, W)``."""
    scores = result.reconstruction.segmentation
    if scores is None:
        raise UsageError(f"{codec.name} gives no segmentation", "choose a system whose task that is")
    return scores


class _Eyes:
    """A task network that looks at each different image once: of a digital link, what arrived is the same in every trial."""

    def __init__(self, network: TaskNetwork) -> None:
        self.network = network
        self._known: dict[bytes, torch.Tensor] = {}

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """`openjscc.tasks.perceive` of images ``(B, 3, H, W)``, on the CPU."""
        keys = [hashlib.sha256(picture.numpy().tobytes()).digest() for picture in x.detach().cpu()]
        new = {key: row for row, key in enumerate(keys) if key not in self._known}
        if new:
            found = perceive(self.network, x if len(new) == len(x) else x[list(new.values())]).cpu()
            self._known.update(zip(new, found, strict=True))
        return torch.stack([self._known[key] for key in keys])


def nominal_ratio(codec: Codec, asked: float | None, task: str = RECONSTRUCTION) -> float | None:
    """The one of the codec's ratios for a task that ``asked`` means; of None its default, or None where it chooses for every
    image.

    Raises:
        UsageError: it has none near that; it would be measured at another one than others.
    """
    info = CodecInfo(codec)
    ratios = info.task_ratios(task)
    if asked is None:
        if info.has_policy:
            return None
        return info.default_ratio if task == RECONSTRUCTION or info.default_ratio in ratios else ratios[-1]
    if info.any_ratio:
        return asked
    nearest = min(ratios, key=lambda known: abs(asked / known - 1))
    if not abs(asked / nearest - 1) <= RATIO_TOLERANCE:
        has = ", ".join(format_ratio(known) for known in ratios)
        of_task = "" if task == RECONSTRUCTION else f" for the task {task}"
        raise UsageError(f"{codec.name} has no bandwidth ratio {format_ratio(asked)}{of_task}", f"it has {has}")
    return nearest


def computed_on(
    codec: Codec, metrics: Sequence[str], networks: Sequence[TaskNetwork] = (), device: torch.device | None = None
) -> str:
    """Names of the devices of codec, task networks and metrics (`openjscc.bench.provenance.device_name`), the codec's first."""
    modules = [module for module in (codec, *networks) if isinstance(module, nn.Module)]
    places = [device_of(codec) or torch.device("cpu"), *(each.device for module in modules for each in module.parameters())]
    if device is not None and any(get_metric(metric).needs == "weights" for metric in metrics):
        places.append(device)
    return "; ".join(dict.fromkeys(device_name(place) for place in dict.fromkeys(places)))


def to_records(
    codec: Codec, dataset: PictureDataset, point: Point, measured: Measured, metrics: Sequence[str], *, system: str, seed: int,
    told_snr_db: float | None, networks: Sequence[TaskNetwork] = (), device: torch.device | None = None,
) -> list[Record]:  # fmt: skip
    """One record per metric (of labels: and network), in their order; none where nothing has been measured. ``device``: see
    `measure`."""
    if not measured.arrived:
        return []
    shared = _shared_facts(codec, dataset, point, measured, metrics, networks, device)
    measured.resample()
    records = []
    for quantity in quantities(metrics, networks):
        key, network = quantity.key, quantity.network
        figure = measured.figure(key)
        records.append(
            Record(
                **shared,
                system=system,
                metric=quantity.metric,
                mean=figure.summary.mean,
                std=figure.summary.std,
                ci95=figure.summary.ci95,
                seed=seed,
                mean_arrived=figure.mean_arrived,
                told_snr_db=told_snr_db,
                task_network=network.name if network is not None else None,
                task_network_sha256=network.sha256 if network is not None else None,
                ci95_noise=measured.noise_interval(key),
                infinite=figure.infinite,
                mean_finite=figure.mean_finite,
            )
        )
    return records


def _shared_facts(
    codec: Codec, dataset: PictureDataset, point: Point, measured: Measured, metrics: Sequence[str],
    networks: Sequence[TaskNetwork], device: torch.device | None,
) -> dict[str, Any]:  # fmt: skip
    """Fields of `Record` that all records of a point share."""
    task, masks, weight = task_of(metrics), open_masks(metrics, dataset, codec), CodecInfo(codec).weight
    learned = isinstance(codec, nn.Module)
    uses = [fmean(row) for row in measured.uses]
    cpp = fmean(count / pixels for count, pixels in zip(uses, measured.pixels, strict=True))
    images, trials = len(measured.arrived), len(measured.arrived[0])
    arrived = sum(ok for row in measured.arrived for ok in row)
    return {
        "account": ACCOUNT,
        "weight": resolved_name(codec),
        "channel": make_channel(point.channel).name,
        "snr_db": point.snr_db,
        "ratio": nominal_ratio(codec, point.ratio, task),
        "images": images,
        "trials": trials,
        "bandwidth_ratio": cpp / 3,
        "parameters": sum(parameter.numel() for parameter in codec.parameters()) if learned else None,
        "macs_per_pixel": codec.macs_per_pixel(task) if isinstance(codec, LearnedCodec) else None,
        "data": dataset.name,
        "outage_rate": 1 - arrived / (images * trials),
        "bound": CodecInfo(codec).bound,
        "tool": CodecInfo(codec).tool,
        "task": task,
        "weight_sha256": weight.sha256 if weight is not None else None,
        "data_sha256": dataset.fingerprint(),
        "masks_sha256": None if masks is None else masks.fingerprint(),
        "channel_uses": fmean(uses),
        "cpp": cpp,
        "encode_ms": fmean(value for row in measured.encode_ms for value in row),
        "decode_ms": fmean(value for row in measured.decode_ms for value in row),
        "device": computed_on(codec, metrics, networks, device),
        "versions": versions(),
        "commit": commit(),
    }
