"""Images of a data set in batches, and work on them in threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from ..data.datasets import PictureDataset
from ..data.masks import MaskSet

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_PIXELS = 2**17
"""Neighbouring images of one size are sent together up to so many pixels: 128 of CIFAR-10, one of Kodak."""


class Stopped(Exception):
    """Raised in a thread whose work nobody waits for any more."""


def until(stop: threading.Event, advance: Callable[[int], None]) -> Callable[[int], None]:
    """``advance``, which raises `Stopped` once the event is set."""

    def advanced(count: int) -> None:
        if stop.is_set():
            raise Stopped
        advance(count)

    return advanced


def ordered_map(work: Callable[[Item], Result], items: Iterable[Item], jobs: int, stop: threading.Event) -> Iterator[Result]:
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

    ``multiple``: so many images belong together (``pack`` of digital links), where there are as many of one size in a row.
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
    """(number of the first image, batch), of `batches`."""
    first = 0
    for x in batches(dataset, pixels, multiple):
        yield first, x
        first += len(x)
