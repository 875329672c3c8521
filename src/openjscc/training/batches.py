"""Batches of random crops, keyed by the global sample index (see `openjscc.training.draws`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional as F

from ..classes import VOID
from ..data.datasets import PictureDataset
from ..data.images import resized
from ..errors import UsageError
from .draws import epoch_order, uniforms

STREAM_CROP = 1


class Maps(Protocol):
    """What belongs to the images of one data set, pixel by pixel: ``(C, H, W)`` for each, of the image's height and width.

    uint8 values are class numbers (masks), `openjscc.classes.VOID` where there is none; all others are weights.
    """

    def __getitem__(self, index: int, /) -> torch.Tensor: ...


@dataclass(frozen=True)
class Batch:
    """Crops and what belongs to them.

    Attributes:
        samples: global sample indices.
        x: float32 ``(B, 3, crop, crop)`` in [0, 1].
        labels: int64 ``(B,)`` class numbers; None where the data has none.
        maps: ``(B, C, crop, crop)``, cut and mirrored with the images; None where there are none.
    """

    samples: range
    x: torch.Tensor
    labels: torch.Tensor | None = None
    maps: torch.Tensor | None = None


class CropSource:
    """Random crops and flips of the images of several data sets.

    Args:
        datasets: joined in order.
        crop: side of the crops.
        flip: mirror half of them.
        seed: of the run.
        device: where batches are made. Images of one fixed size are kept there as one tensor.
        maps: one per data set, cut and mirrored with its images; None: there are none.
        scale: smallest and largest factor by which images are scaled before a crop is taken; one is drawn for each crop,
            evenly on a logarithmic scale.
        scaled: which data sets' images are; None: all.
    """

    def __init__(
        self, datasets: Sequence[PictureDataset], crop: int, flip: bool, seed: int, device: torch.device,
        maps: Sequence[Maps] | None = None, scale: tuple[float, float] = (1.0, 1.0),
        scaled: Sequence[bool] | None = None,
    ) -> None:  # fmt: skip
        self.datasets = list(datasets)
        self.maps = maps
        self.crop, self.flip, self.seed, self.device, self.scale = crop, flip, seed, device, scale
        self.scaled = [True] * len(self.datasets) if scaled is None else list(scaled)
        self.size = sum(len(dataset) for dataset in self.datasets)
        if not self.size:
            raise UsageError("no training pictures", "data.train names data sets or folders with pictures")
        self.stopped = False
        self._orders: dict[int, torch.Tensor] = {}
        fixed = {dataset.fixed_size for dataset in self.datasets}
        self._whole: torch.Tensor | None = None
        if fixed == {(crop, crop)} and scale == (1.0, 1.0):
            self._whole = torch.stack([self._picture(i) for i in range(self.size)]).to(device)
        labels = [dataset.labels for dataset in self.datasets if dataset.labels is not None]
        self._labels = torch.cat(labels) if len(labels) == len(self.datasets) else None

    @property
    def labelled(self) -> bool:
        """Whether every image has a class number."""
        return self._labels is not None

    def _place(self, position: int) -> tuple[int, int]:
        for number, dataset in enumerate(self.datasets):
            if position < len(dataset):
                return number, position
            position -= len(dataset)
        raise IndexError(position)

    def _picture(self, position: int) -> torch.Tensor:
        number, index = self._place(position)
        return self.datasets[number].shared(index)

    def _map(self, position: int) -> torch.Tensor:
        assert self.maps is not None
        number, index = self._place(position)
        return self.maps[number][index]

    def _position(self, sample: int) -> int:
        self._heed()
        epoch, place = divmod(sample, self.size)
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = epoch_order(self.seed, epoch, self.size)
        return int(self._orders[epoch][place])

    def batch(self, samples: range) -> Batch:
        """The crops of these global sample indices, on the device. Setting `stopped` from another thread ends it soon."""
        positions = [self._position(sample) for sample in samples]
        draws = uniforms(self.seed, STREAM_CROP, torch.tensor(list(samples)), 4)
        mirrored = ((draws[:, 2] < 0.5) & self.flip).to(self.device)[:, None, None, None]
        low, high = self.scale
        factors = (low * (high / low) ** draws[:, 3].double()).tolist()
        factors = [factor if self.scaled[self._place(p)[0]] else 1.0 for p, factor in zip(positions, factors, strict=True)]
        cuts = [(down, right, factor) for (down, right), factor in zip(draws[:, :2].tolist(), factors, strict=True)]
        if self._whole is not None:
            crops = self._whole[torch.tensor(positions, device=self.device)]
        else:
            crops = torch.stack([self._cut(self._picture(p), *cut) for p, cut in zip(positions, cuts, strict=True)])
            crops = crops.to(self.device)
        crops = crops.float() / 255.0
        maps = None
        if self.maps is not None:
            maps = torch.stack([self._cut_map(p, cut) for p, cut in zip(positions, cuts, strict=True)]).to(self.device)
            maps = torch.where(mirrored, maps.flip(3), maps)
        labels = None if self._labels is None else self._labels[positions].to(self.device)
        return Batch(samples, torch.where(mirrored, crops.flip(3), crops), labels, maps)

    def _cut_map(self, position: int, cut: tuple[float, float, float]) -> torch.Tensor:
        values = self._map(position)
        return self._cut(values, *cut, mask=values.dtype == torch.uint8)

    def _heed(self) -> None:
        if self.stopped:
            raise InterruptedError("nobody waits for this batch")

    def _cut(self, picture: torch.Tensor, down: float, right: float, factor: float, mask: bool = False) -> torch.Tensor:
        """A window of ``crop / factor`` pixels as a crop. Beyond an image is its border, beyond a mask nothing is known."""
        side = max(round(self.crop / factor), 1)
        self._heed()
        missing = [max(side - length, 0) for length in picture.shape[1:]]
        if any(missing):
            beyond = (0, missing[1], 0, missing[0])
            if mask:
                picture = F.pad(picture, beyond, value=VOID)
            else:
                picture = F.pad(picture[None].float(), beyond, mode="replicate")[0].to(picture.dtype)
        top = int(down * (picture.shape[1] - side + 1))
        left = int(right * (picture.shape[2] - side + 1))
        window = picture[:, top : top + side, left : left + side]
        return resized(window, self.crop, mask=mask)


def prefetched(source: CropSource, batches: Iterator[range]) -> Iterator[Batch]:
    """The batches of these index ranges, the next one made in a thread while the current one is used.

    Ctrl-C, or leaving the loop, does not wait for a batch that is being made.
    """
    source.stopped = False
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[Batch] | None = None
        try:
            for samples in batches:
                future = pool.submit(source.batch, samples)
                if waiting is not None:
                    yield waiting.result()
                waiting = future
            if waiting is not None:
                yield waiting.result()
        finally:
            source.stopped = True
