"""The sweep: one system over a data set, at every channel, SNR, ratio and trial."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

from ..channels import make_channel
from ..codec import Codec, CodecInfo
from ..data.datasets import PictureDataset
from ..data.masks import MaskSet
from ..devices import exact_float32
from ..errors import MissingError, UsageError
from ..metrics import get_metric
from ..tasks import TaskNetwork
from ..units import snr_tensor
from .measure import Measured, Point, measure, nominal_ratio, to_records
from .records import Record
from .task_metrics import check_networks, open_masks, task_of

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_PIXELS = 2**17
"""Neighbouring pictures of one size are sent together up to so many pixels: 128 of CIFAR-10, one of Kodak."""


@dataclass(frozen=True)
class Sweep:
    """What is measured.

    Attributes:
        channels: specs.
        snr_db: average SNRs in dB.
        ratios: nominal bandwidth ratios; None stands for the system's default.
        metrics: names of `openjscc.metrics.METRICS`, all of one task.
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
        check_metrics(self.metrics)
        snr_tensor(self.snr_db, len(self.snr_db))

    def points(self, codec: Codec) -> list[Point]:
        """All of channel, ratio (the codec's own one that is meant), SNR."""
        ratios = dict.fromkeys(nominal_ratio(codec, asked, task_of(self.metrics)) for asked in self.ratios)
        return [Point(*where) for where in itertools.product(self.channels, ratios, self.snr_db)]


def check_metrics(names: Iterable[str]) -> None:
    """Refuse before the work what would fail in the middle of it.

    Raises:
        UsageError: an unknown metric, or metrics of several tasks.
        MissingError: network weights that a metric needs and that are not to be had.
    """
    names = tuple(names)
    task_of(names)
    for name in names:
        metric = get_metric(name)
        if metric.needs == "weights":
            picture = torch.zeros(1, 3, 64, 64)
            metric.collect(picture, picture)


def missing_metrics(names: Iterable[str]) -> dict[str, str]:
    """Metrics whose weights are not to be had, and why.

    Raises:
        UsageError: see `check_metrics`. MissingError: none of them can be had.
    """
    missing: dict[str, MissingError] = {}
    asked = dict.fromkeys(names)
    for name in asked:
        try:
            check_metrics((name,))
        except MissingError as error:
            missing[name] = error
    if missing and len(missing) == len(asked):
        raise next(iter(missing.values()))
    return {name: error.message for name, error in missing.items()}


class Interrupted(KeyboardInterrupt):
    """The sweep was interrupted. ``records`` has the figures over the pictures that were through with every point."""

    def __init__(self, records: list[Record]) -> None:
        super().__init__("interrupted")
        self.records = records


def evaluate(
    codec: Codec,
    dataset: PictureDataset,
    sweep: Sweep,
    *,
    system: str | None = None,
    networks: Sequence[TaskNetwork] = (),
    batch_pixels: int = BATCH_PIXELS,
    jobs: int = 1,
    advance: Callable[[int], None] = lambda count: None,
    device: torch.device | None = None,
) -> list[Record]:
    """Measure a system, where its networks are.

    The draw of fading and noise follows from picture, trial, channel and seed (`openjscc.link.transmit`), so figures do
    not depend on the batch, and all systems and SNRs meet the same draws. Under fading the receiver knows the gain;
    symbols are MMSE-equalised unless the codec uses the gain itself.

    Args:
        codec: the system.
        dataset: pictures, uint8 ``(3, H, W)`` each.
        sweep: what is measured.
        system: the name that records carry; None: the codec's.
        networks: whose view metrics of labels (accuracy, f1) are of.
        batch_pixels: neighbouring pictures of one size are sent together up to so many pixels.
        jobs: batches at work at the same time, in threads; what comes out does not depend on it.
        advance: told the number of pictures after each batch of each point and trial.
        device: where metrics with networks of their own compute, see `openjscc.bench.measure.measure`.

    Returns:
        One record per channel, ratio, SNR and metric (of labels: and network), in this order.

    Raises:
        UsageError: for a ratio that the codec does not have, and what `openjscc.bench.task_metrics.check_networks` and
            `openjscc.bench.task_metrics.open_masks` refuse.
        Interrupted: on Ctrl-C, with what there is.
    """
    check_networks(sweep.metrics, dataset, networks)
    masks = open_masks(sweep.metrics, dataset, codec)
    points = sweep.points(codec)
    measured = [Measured() for _ in points]
    system = system or codec.name
    told = sweep.told_snr_db
    stop = threading.Event()
    advanced = until(stop, advance)

    def work(item: tuple[int, torch.Tensor]) -> list[Measured]:
        first, x = item
        labels = None if dataset.labels is None else dataset.labels[first : first + len(x)]
        return [
            measure(
                codec,
                x,
                point,
                sweep.metrics,
                trials=range(sweep.trials),
                seed=sweep.seed,
                told_snr_db=told,
                labels=labels,
                networks=networks,
                masks=None if masks is None else stacked(masks, first, len(x)),
                advance=advanced,
                device=device,
            )
            for point in points
        ]

    def records() -> list[Record]:
        lists = [
            to_records(
                codec,
                dataset,
                point,
                found,
                sweep.metrics,
                system=system,
                seed=sweep.seed,
                told_snr_db=told,
                networks=networks,
                device=device,
            )
            for point, found in zip(points, measured, strict=True)
        ]
        return [record for some in lists for record in some]

    try:
        with exact_float32():
            for fresh in in_order(work, enumerate_batches(dataset, CodecInfo(codec).pack, batch_pixels), jobs, stop):
                for one, new in zip(measured, fresh, strict=True):  # only batches that are through with every point count
                    one.add_pictures(new)
    except KeyboardInterrupt:
        raise Interrupted(records()) from None
    return records()


class Stopped(Exception):
    """Raised in a thread whose work nobody waits for any more."""


def until(stop: threading.Event, advance: Callable[[int], None]) -> Callable[[int], None]:
    """``advance``, which raises `Stopped` once the event is set."""

    def advanced(count: int) -> None:
        if stop.is_set():
            raise Stopped
        advance(count)

    return advanced


def in_order(work: Callable[[Item], Result], items: Iterable[Item], jobs: int, stop: threading.Event) -> Iterator[Result]:
    """``map(work, items)``, up to ``jobs`` of them at the same time, and no more items held than that.

    When it ends early, ``stop`` is set: work that looks at it ends soon, and is waited for.
    """
    if jobs == 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(jobs)
    running: deque[Future[Result]] = deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) >= jobs:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def batches(dataset: PictureDataset, pixels: int, multiple: int = 1) -> Iterator[torch.Tensor]:
    """Neighbours of one size as float32 ``(B, 3, H, W)`` in [0, 1], up to so many pixels.

    ``multiple``: so many pictures belong together (``pack`` of digital links), where there are as many of one size in a row.
    """
    held: list[torch.Tensor] = []
    for index in range(len(dataset)):
        picture = dataset[index]
        room = max(pixels // picture[0].numel() // multiple, 1) * multiple
        if held and (picture.shape != held[0].shape or len(held) >= room):
            yield torch.stack(held).float().div_(255.0)
            held = []
        held.append(picture)
    if held:
        yield torch.stack(held).float().div_(255.0)


def stacked(masks: MaskSet, first: int, count: int) -> torch.Tensor:
    """Masks of neighbours of one size, uint8 ``(B, H, W)``."""
    return torch.cat([masks[index] for index in range(first, first + count)])


def enumerate_batches(dataset: PictureDataset, multiple: int, pixels: int = BATCH_PIXELS) -> Iterator[tuple[int, torch.Tensor]]:
    """(number of the first picture, batch), of `batches`."""
    first = 0
    for x in batches(dataset, pixels, multiple):
        yield first, x
        first += len(x)
