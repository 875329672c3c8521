"""The sweep: one system over a data set, at every channel, SNR, ratio and trial."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import nn

from ..channels import make_channel
from ..codec import Codec, is_bound, takes_any_ratio
from ..data.datasets import PictureDataset
from ..errors import UsageError
from ..link import transmit
from ..metrics import get_metric
from ..models import LearnedCodec
from ..units import snr_tensor
from .records import Record
from .statistics import summarise

BATCH_PIXELS = 2**17
"""Neighbouring pictures of one size are sent together up to so many pixels: 128 of CIFAR-10, one of Kodak."""


@dataclass(frozen=True)
class Sweep:
    """What is measured.

    Attributes:
        channels: specs.
        snr_db: average SNRs in dB.
        ratios: nominal bandwidth ratios; None stands for the system's default.
        metrics: names of `openjscc.metrics.METRICS`.
        trials: repetitions, each with its own fading and noise.
        seed: of the experiment.
        told_snr_db: the SNR that the transmitter believes in at every point; None: the true one.
    """

    channels: tuple[str, ...] = ("awgn",)
    snr_db: tuple[float, ...] = (10.0,)
    ratios: tuple[float | None, ...] = (None,)
    metrics: tuple[str, ...] = ("psnr", "ssim")
    trials: int = 1
    seed: int = 0
    told_snr_db: float | None = None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UsageError(f"{self.trials} trials", "at least one")
        for channel in self.channels:
            make_channel(channel)
        for metric in self.metrics:
            get_metric(metric)
        snr_tensor(self.snr_db, len(self.snr_db))

    @property
    def points(self) -> list[tuple[str, float | None, float]]:
        """All (channel, ratio, SNR)."""
        return list(itertools.product(self.channels, self.ratios, self.snr_db))


class Interrupted(KeyboardInterrupt):
    """The sweep was interrupted. ``records`` has the figures over the pictures that were through with every point."""

    def __init__(self, records: list[Record]) -> None:
        super().__init__("interrupted")
        self.records = records


@dataclass
class _Point:
    """What one point has gathered: one row of trials for every picture, per metric, and whether it arrived."""

    values: dict[str, list[list[float]]]
    ratios: list[float]
    arrived: list[list[bool]]


def evaluate(
    codec: Codec,
    dataset: PictureDataset,
    sweep: Sweep,
    *,
    system: str | None = None,
    batch_pixels: int = BATCH_PIXELS,
    jobs: int = 1,
    advance: Callable[[int], None] = lambda count: None,
) -> list[Record]:
    """Measure a system.

    The draw of fading and noise follows from picture, trial, channel and seed (`openjscc.link.transmit`), so figures do
    not depend on the batch, and all systems and SNRs meet the same draws. Under fading the receiver knows the gain;
    symbols are MMSE-equalised unless the codec uses the gain itself.

    Args:
        codec: the system.
        dataset: pictures, uint8 ``(3, H, W)`` each.
        sweep: what is measured.
        system: the name that records carry; None: the codec's.
        batch_pixels: neighbouring pictures of one size are sent together up to so many pixels.
        jobs: batches at work at the same time, in threads; what comes out does not depend on it.
        advance: told the number of pictures after each batch of each point and trial.

    Returns:
        One record per channel, ratio, SNR and metric, in this order.

    Raises:
        UsageError: for a ratio that the codec does not have. Interrupted: on Ctrl-C, with what there is.
    """
    points = [_Point({name: [] for name in sweep.metrics}, [], []) for _ in sweep.points]
    try:
        for fresh in _in_order(
            lambda x: [_measure(codec, x, sweep, *where, advance) for where in sweep.points],
            _batches(dataset, batch_pixels),
            jobs,
        ):
            for point, new in zip(points, fresh, strict=True):  # only batches that are through with every point count
                for name, rows in new.values.items():
                    point.values[name] += rows
                point.ratios += new.ratios
                point.arrived += new.arrived
    except KeyboardInterrupt:
        raise Interrupted(_records(codec, dataset, sweep, points, system)) from None
    return _records(codec, dataset, sweep, points, system)


def nominal_ratio(codec: Codec, asked: float | None) -> float:
    """The one of the codec's ratios that ``asked`` means; None its default."""
    if asked is None:
        return getattr(codec, "default_ratio", codec.ratios[0])
    if takes_any_ratio(codec):
        return asked
    return min(codec.ratios, key=lambda known: abs(asked / known - 1))


def _measure(
    codec: Codec, x: torch.Tensor, sweep: Sweep, channel: str, ratio: float | None, snr_db: float, advance: Callable[[int], None]
) -> _Point:
    columns: dict[str, list[torch.Tensor]] = {name: [] for name in sweep.metrics}
    ratios = torch.zeros(len(x), dtype=torch.float64)
    arrived = []
    told = "same" if sweep.told_snr_db is None else sweep.told_snr_db
    for trial in range(sweep.trials):
        result = transmit(codec, channel, x, snr_db, ratio=ratio, seed=sweep.seed, trial=trial, told_snr_db=told)
        if result.image is None:
            raise UsageError(f"{codec.name} gives no picture", "choose a system whose task is reconstruction")
        received = result.image.to(x.device)
        ok = result.reconstruction.ok
        arrived.append(torch.ones(len(x), dtype=torch.bool) if ok is None else ok.cpu())
        for name, column in columns.items():
            column.append(get_metric(name).function(x, received).cpu())
        ratios += result.frame.length.cpu().double() / (x[0].numel() * sweep.trials)
        advance(len(x))
    rows = {name: torch.stack(column, dim=1).tolist() for name, column in columns.items()}
    return _Point(rows, ratios.tolist(), torch.stack(arrived, dim=1).tolist())


def _in_order(work: Callable[[torch.Tensor], list[_Point]], batches: Iterator[torch.Tensor], jobs: int) -> Iterator[list[_Point]]:
    """``map(work, batches)``, up to ``jobs`` of them at the same time, and no more batches held than that."""
    if jobs == 1:
        yield from map(work, batches)
        return
    pool = ThreadPoolExecutor(jobs)
    running: deque[Future[list[_Point]]] = deque()
    try:
        for batch in batches:
            running.append(pool.submit(work, batch))
            if len(running) >= jobs:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(dataset: PictureDataset, pixels: int) -> Iterator[torch.Tensor]:
    """Neighbours of one size as float32 ``(B, 3, H, W)`` in [0, 1]."""
    held: list[torch.Tensor] = []
    for index in range(len(dataset)):
        picture = dataset[index]
        room = pixels // picture[0].numel()
        if held and (picture.shape != held[0].shape or len(held) >= room):
            yield torch.stack(held).float().div_(255.0)
            held = []
        held.append(picture)
    if held:
        yield torch.stack(held).float().div_(255.0)


def _records(codec: Codec, dataset: PictureDataset, sweep: Sweep, points: list[_Point], system: str | None) -> list[Record]:
    weight = getattr(codec, "weight", None)
    parameters = sum(parameter.numel() for parameter in codec.parameters()) if isinstance(codec, nn.Module) else None
    macs = codec.macs_per_pixel() if isinstance(codec, LearnedCodec) else None
    records = []
    for (channel, asked, snr_db), point in zip(sweep.points, points, strict=True):
        for metric, rows in point.values.items():
            if not rows:
                continue
            summary = summarise(rows)
            kept = [value for row, oks in zip(rows, point.arrived, strict=True) for value, ok in zip(row, oks, strict=True) if ok]
            records.append(
                Record(
                    system=system or codec.name,
                    weight=weight.name if weight is not None else codec.name,
                    metric=metric,
                    channel=make_channel(channel).name,
                    snr_db=snr_db,
                    ratio=nominal_ratio(codec, asked),
                    mean=summary.mean,
                    std=summary.std,
                    ci95=summary.ci95,
                    images=summary.images,
                    trials=summary.trials,
                    bandwidth_ratio=sum(point.ratios) / len(point.ratios),
                    parameters=parameters,
                    macs_per_pixel=macs,
                    data=dataset.name,
                    seed=sweep.seed,
                    outage_rate=1 - len(kept) / (summary.images * summary.trials),
                    mean_arrived=summary.mean if len(kept) == summary.images * summary.trials else fmean(kept) if kept else None,
                    bound=is_bound(codec),
                    tool=getattr(codec, "tool", None),
                    told_snr_db=sweep.told_snr_db,
                )
            )
    return records
