"""What metrics remember of the last source pictures: a sweep sends the same image at many points, its features are the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable, Iterator

import numpy as np
import torch

from ..cache import Cache, Entry
from ..errors import UsageError
from .fidelity import eight_bits

ENVIRONMENT = "OPENJSCC_SOURCE_MEMORY"


def bytes_from_environment(default: int) -> int:
    """What ``OPENJSCC_SOURCE_MEMORY`` (MiB) allows to remember.

    Raises:
        UsageError: it is no whole number from 0 on.
    """
    given = os.environ.get(ENVIRONMENT)
    if not given:
        return default
    if not given.isdecimal():
        raise UsageError(f"{ENVIRONMENT} is {given!r}", "give a whole number of MiB, e.g. 5000")
    return int(given) * 2**20


class SourceMemory(Cache):
    """Tensors by the image that they were computed from and by what computed them."""

    def recall(
        self, picture: torch.Tensor, by: Hashable, compute: Callable[[], Iterable[torch.Tensor]]
    ) -> Iterator[torch.Tensor]:
        """What ``compute`` gave for this image before; else what it gives now, one after another, kept at the end.

        Args:
            picture: ``(..., H, W)`` in [0, 1]; images that are equal at 8 bits are the same.
            by: names the computation.
            compute: it.
        """
        key = _content(picture), str(picture.device), by
        known = self.find(key)
        if known is not None:
            yield from known.value
            return
        parts: list[torch.Tensor] = []
        size = 0
        for part in compute():
            size += part.nbytes
            parts = [*parts, part] if size <= self.most_bytes else []
            yield part
        self.keep(key, Entry(parts, size))


def _content(picture: torch.Tensor) -> bytes:
    values = eight_bits(picture)
    broken = bool(values.isnan().any())  # 8 bits have no sign for it
    content = values.nan_to_num(0).to(torch.uint8).cpu().numpy()
    return hashlib.sha256(repr((content.shape, broken)).encode() + np.ascontiguousarray(content).tobytes()).digest()
