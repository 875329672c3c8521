"""What has been decoded once, kept in memory up to a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch


class TensorCache:
    """Tensors by number. Safe for several threads; a copy in another process starts with what is kept.

    Args:
        mib: room, in MiB; what does not fit is made at each access.
    """

    def __init__(self, mib: float) -> None:
        self._kept: dict[int, torch.Tensor] = {}
        self._room = int(mib * 2**20)
        self._lock = threading.Lock()

    def get(self, index: int, make: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """The tensor of ``index``, made by ``make(index)`` where it is not kept. Callers only read it."""
        with self._lock:
            tensor = self._kept.get(index)
        if tensor is not None:
            return tensor
        tensor = make(index)
        with self._lock:
            if index not in self._kept and tensor.nbytes <= self._room:
                self._kept[index] = tensor
                self._room -= tensor.nbytes
        return tensor

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
