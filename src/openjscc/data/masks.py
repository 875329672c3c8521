"""Masks: which class each pixel of a data set's images belongs to."""

from __future__ import annotations

import hashlib
import threading
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from PIL import Image

from ..cache import Cache
from ..classes import VOC, VOID, voc_palette
from ..errors import IntegrityError, MissingError, UsageError
from .datasets import PictureDataset
from .images import picture_size, read_indices, squared
from .voc import MASKS

CACHE_MIB = 1024
"""Masks are decoded once and kept up to this much memory."""


class MaskSet:
    """The masks of a data set's images, by the images' numbers. Safe to read from several threads.

    Attributes:
        classes: names of the classes, by number.
    """

    classes = VOC

    def __init__(self, dataset: PictureDataset) -> None:
        assert dataset.masks is not None
        assert dataset.paths is not None
        self._pictures, self._paths, self._side = dataset.paths, dataset.masks, dataset.side
        self._cache = Cache(CACHE_MIB * 2**20, evict=False)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Class numbers, uint8 ``(1, H, W)`` of the image's size, `openjscc.classes.VOID` where there is none; a copy.

        Raises:
            IndexError: outside ``-N .. N-1``.
            IntegrityError: a file that is damaged or no mask, another size than the image's, a number that is no class.
        """
        index = range(len(self))[index]
        return self._cache.once(index, lambda: self._read(index), lambda mask: mask.nbytes).clone()

    def _read(self, index: int) -> torch.Tensor:
        path = self._paths[index]
        mask = read_indices(path)
        size = picture_size(self._pictures[index])
        if mask.shape != size:
            message = f"mask {path} has {mask.shape[1]}x{mask.shape[0]} pixels, its picture {size[1]}x{size[0]}"
            raise IntegrityError(message, "masks are scaled with their pictures, by nearest neighbour")
        highest = int(mask.masked_fill(mask == VOID, 0).max())
        if highest >= len(self.classes):
            message = f"mask {path} has class {highest} of {len(self.classes)}"
            raise IntegrityError(message, f"classes are 0 to {len(self.classes) - 1}, and {VOID} is void")
        return mask[None] if self._side is None else squared(mask[None], self._side, mask=True)

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for path in self._paths:
            content = path.read_bytes()
            digest.update(len(content).to_bytes(8, "big"))
            digest.update(content)
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """sha256 (hex) over every mask file in order: its byte count (8 bytes, big-endian), then its bytes."""
        return self._fingerprint


def mask_picture(numbers: torch.Tensor) -> Image.Image:
    """Class numbers, integers ``(H, W)`` from 0 to 255, as a palette image in VOC's colours: what `MaskSet` reads."""
    image = Image.fromarray(numbers.to(torch.uint8).cpu().numpy()).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([value for colour in voc_palette() for value in colour])
    return image


def masks_of(dataset: PictureDataset) -> MaskSet:
    """The masks of a data set; of the same one always the same object, which keeps what it has read.

    Args:
        dataset: ``voc``, or a folder in VOC's layout; with its limits and exclusions. ``dataset.masks`` is None for all others.

    Raises:
        UsageError: data that has no masks.
        MissingError: VOC without the folder of its masks.
        IntegrityError: some masks are not there.
    """
    with _LOCK:
        if dataset not in _OPENED:
            _OPENED[dataset] = _opened(dataset)
        return _OPENED[dataset]


_OPENED: WeakKeyDictionary[PictureDataset, MaskSet] = WeakKeyDictionary()
_LOCK = threading.Lock()


def _opened(dataset: PictureDataset) -> MaskSet:
    if dataset.masks is None:
        raise UsageError(
            f"{dataset.name} has no masks",
            f"use --data voc, or a folder with JPEGImages/, {MASKS}/ and ImageSets/Segmentation/val.txt",
        )
    gone = [path for path in dataset.masks if not path.is_file()]
    if gone and not gone[0].parent.is_dir():
        raise MissingError(
            f"{dataset.name} is there without its masks: no folder {gone[0].parent}", f"unpack {MASKS}/ of the data set as well"
        )
    if gone:
        raise IntegrityError(
            f"{len(gone)} masks of {len(dataset)} are missing, the first is {gone[0]}", f"unpack {MASKS}/ of the data set again"
        )
    return MaskSet(dataset)
