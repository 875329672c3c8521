"""Batches of random crops, keyed by the global sample index (see `openjscc.training.draws`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.nn import functional as F

from ..data.datasets import PictureDataset
from ..errors import UsageError
from .draws import epoch_order, uniforms

STREAM_CROP = 1


class CropSource:
    """Random crops and flips of the pictures of several data sets.

    Args:
        datasets: joined in order.
        crop: side of the crops.
        flip: mirror half of them.
        seed: of the run.
        device: where batches are made. Pictures of one fixed size are kept there as one tensor.
    """

    def __init__(self, datasets: Sequence[PictureDataset], crop: int, flip: bool, seed: int, device: torch.device) -> None:
        self.datasets = list(datasets)
        self.crop, self.flip, self.seed, self.device = crop, flip, seed, device
        self.size = sum(len(dataset) for dataset in self.datasets)
        if not self.size:
            raise UsageError("no training pictures", "data.train names data sets or folders with pictures")
        self._orders: dict[int, torch.Tensor] = {}
        fixed = {dataset.fixed_size for dataset in self.datasets}
        self._whole: torch.Tensor | None = None
        if fixed == {(crop, crop)}:
            self._whole = torch.stack([self._picture(i) for i in range(self.size)]).to(device)

    def _picture(self, position: int) -> torch.Tensor:
        for dataset in self.datasets:
            if position < len(dataset):
                return dataset.shared(position)
            position -= len(dataset)
        raise IndexError(position)

    def _position(self, sample: int) -> int:
        epoch, place = divmod(sample, self.size)
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = epoch_order(self.seed, epoch, self.size)
        return int(self._orders[epoch][place])

    def batch(self, samples: range) -> torch.Tensor:
        """The crops of these global sample indices, float32 ``(B, 3, crop, crop)`` in [0, 1] on the device."""
        positions = [self._position(sample) for sample in samples]
        draws = uniforms(self.seed, STREAM_CROP, torch.tensor(list(samples)), 3)
        mirrored = (draws[:, 2] < 0.5) & self.flip
        if self._whole is not None:
            crops = self._whole[torch.tensor(positions, device=self.device)]
        else:
            crops = torch.stack(
                [self._cut(self._picture(p), *draw) for p, draw in zip(positions, draws[:, :2].tolist(), strict=True)]
            )
            crops = crops.to(self.device)
        crops = crops.float() / 255.0
        return torch.where(mirrored.to(self.device)[:, None, None, None], crops.flip(3), crops)

    def _cut(self, picture: torch.Tensor, down: float, right: float) -> torch.Tensor:
        missing = [max(self.crop - side, 0) for side in picture.shape[1:]]
        if any(missing):
            picture = F.pad(picture[None].float(), (0, missing[1], 0, missing[0]), mode="replicate")[0].to(torch.uint8)
        top = int(down * (picture.shape[1] - self.crop + 1))
        left = int(right * (picture.shape[2] - self.crop + 1))
        return picture[:, top : top + self.crop, left : left + self.crop]


def prefetched(source: CropSource, batches: Iterator[range]) -> Iterator[tuple[range, torch.Tensor]]:
    """The batches of these index ranges, the next one made in a thread while the current one is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting: tuple[range, object] | None = None
        for samples in batches:
            future = pool.submit(source.batch, samples)
            if waiting is not None:
                yield waiting[0], waiting[1].result()  # pyright: ignore[reportAttributeAccessIssue]
            waiting = (samples, future)
        if waiting is not None:
            yield waiting[0], waiting[1].result()  # pyright: ignore[reportAttributeAccessIssue]
