"""Images by number: what every data set is, wherever its images come from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ..cache import Cache
from ..errors import UsageError
from .images import picture_size, read_image, squared, to_uint8


class PictureDataset:
    """Images by number. Safe to read from several threads.

    Attributes:
        name: the name or path it was opened by.
        split: ``train`` or ``test``; a folder has no splits and gives all it holds for either.
        ids: one stable name per picture: the file's path within the data set, or ``test-00042``.
        labels: int64 ``(N,)`` class numbers, or None.
        paths: the files, or None where the images are one array.
        masks: the files of their masks (`openjscc.data.masks`), which need not be there; None: the data has no masks.
        side: images and masks are the middle squares of the files, scaled to this many pixels along a side; None: as they are.
        note: what a reader of results must know, e.g. a miniature, or what was left out; else empty.
    """

    def __init__(
        self,
        name: str,
        split: str,
        ids: Sequence[str],
        *,
        paths: Sequence[Path] | None = None,
        array: np.ndarray | None = None,
        labels: torch.Tensor | None = None,
        masks: Sequence[Path] | None = None,
        side: int | None = None,
        note: str = "",
        cache_mib: float = 4096,
    ) -> None:
        if (paths is None) == (array is None):
            raise ValueError("a data set has either paths or an array")
        self.name = name
        self.split = split
        self.ids = tuple(ids)
        self.paths = None if paths is None else tuple(paths)
        self.labels = labels
        self.masks = None if masks is None else tuple(masks)
        self.side = side
        self.note = note
        self._array = array
        self._cache = Cache(int(cache_mib * 2**20), evict=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> torch.Tensor:
        """uint8 ``(3, H, W)`` RGB, the caller's own copy.

        Raises:
            IndexError: outside ``-N .. N-1``. UsageError, IntegrityError: the file cannot be read, see `read_image`.
        """
        return self.shared(index).clone()

    def shared(self, index: int) -> torch.Tensor:
        """The same without a copy, for callers that only read it (a crop of a cached image costs no more than the crop).

        Raises as ``dataset[index]`` does.
        """
        index = range(len(self))[index]
        if self._array is not None:
            return torch.from_numpy(np.ascontiguousarray(self._array[index].transpose(2, 0, 1)))
        return self._cache.once(index, lambda: self._read(index), lambda pixels: pixels.nbytes)

    def _read(self, index: int) -> torch.Tensor:
        assert self.paths is not None
        pixels = to_uint8(read_image(self.paths[index]).pixels)
        return pixels if self.side is None else squared(pixels, self.side)

    def some(self, numbers: Sequence[int], cache_mib: float = 4096) -> PictureDataset:
        """A data set of some of the images, in this order."""
        array = self._array
        if array is not None and list(numbers) != list(range(len(self))):
            array = array[numbers]
        return PictureDataset(
            self.name, self.split, [self.ids[i] for i in numbers],
            paths=None if self.paths is None else [self.paths[i] for i in numbers],
            array=array,
            labels=None if self.labels is None else self.labels[numbers],
            masks=None if self.masks is None else [self.masks[i] for i in numbers],
            side=self.side, note=self.note, cache_mib=cache_mib,
        )  # fmt: skip

    @cached_property
    def fixed_size(self) -> tuple[int, int] | None:
        """``(H, W)`` where all images have that size, else None. Reads the headers of all files on first use."""
        if self._array is not None:
            return int(self._array.shape[1]), int(self._array.shape[2])
        if self.side is not None:
            return self.side, self.side
        assert self.paths is not None
        first = picture_size(self.paths[0])
        return first if all(picture_size(path) == first for path in self.paths) else None

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for index in range(len(self)):
            content = self._array[index].tobytes() if self._array is not None else _file_bytes(self.paths, index)
            digest.update(len(content).to_bytes(8, "big"))
            digest.update(content)
        if self.labels is not None:
            digest.update(self.labels.numpy().astype("<i8").tobytes())
        if self.side is not None:
            digest.update(f"side {self.side}".encode())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """sha256 (hex) over every image in order: its byte count (8 bytes, big-endian), then the file's bytes, or the
        uint8 ``(H, W, 3)`` values of an array; then the labels, and ``side``. Computed on first use; file names do not enter."""
        return self._fingerprint

    def __repr__(self) -> str:
        return f"PictureDataset({self.name!r}, {self.split}, {len(self)} pictures{', ' + self.note if self.note else ''})"


def _file_bytes(paths: tuple[Path, ...] | None, index: int) -> bytes:
    assert paths is not None
    try:
        return paths[index].read_bytes()
    except OSError as error:
        raise UsageError(f"{paths[index]} cannot be read: {error.strerror}", "check the path") from None
