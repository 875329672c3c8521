"""What metrics remember of the last source pictures: a sweep sends the same picture at many points, its features are the same."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator

import numpy as np
import torch

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


class SourceMemory:
    """Tensors by the picture that they were computed from and by what computed them; the least recently used ones go first.

    Args:
        most_bytes: of all tensors together. What is larger by itself is never kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, list[torch.Tensor]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def recall(
        self, picture: torch.Tensor, by: Hashable, compute: Callable[[], Iterable[torch.Tensor]]
    ) -> Iterator[torch.Tensor]:
        """What ``compute`` gave for this picture before; else what it gives now, one after another, remembered at the end.

        Args:
            picture: ``(..., H, W)`` in [0, 1]; pictures that are equal at 8 bits are the same.
            by: names the computation.
            compute: it.
        """
        key = _content(picture), str(picture.device), by
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
        if known is not None:
            yield from known
            return
        parts: list[torch.Tensor] | None = []
        for part in compute():
            if parts is not None:
                parts.append(part)
                if _size(parts) > self.most_bytes:
                    parts = None
            yield part
        if parts is not None:
            self._keep(key, parts)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    @property
    def bytes(self) -> int:
        """Held now."""
        return self._bytes

    def _keep(self, key: Hashable, parts: list[torch.Tensor]) -> None:
        with self._lock:
            self._bytes += _size(parts) - _size(self._kept.pop(key, []))  # another thread may have been faster
            self._kept[key] = parts
            while self._bytes > self.most_bytes:
                self._bytes -= _size(self._kept.popitem(last=False)[1])


def _content(picture: torch.Tensor) -> bytes:
    values = eight_bits(picture)
    broken = bool(values.isnan().any())  # 8 bits have no sign for it
    content = values.nan_to_num(0).to(torch.uint8).cpu().numpy()
    return hashlib.sha256(repr((content.shape, broken)).encode() + np.ascontiguousarray(content).tobytes()).digest()


def _size(parts: Iterable[torch.Tensor]) -> int:
    return sum(part.nbytes for part in parts)
