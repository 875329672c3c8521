"""Several processes on one benchmark, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

import torch.distributed as dist


class Team:
    """The processes of a run: one, or those that ``torchrun`` made. A context manager.

    Attributes:
        rank: number of this process.
        size: how many there are.
    """

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self._started = False

    def __enter__(self) -> Team:
        if self.size > 1 and not dist.is_initialized():
            dist.init_process_group("gloo")
            self._started = True
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._started:
            dist.destroy_process_group()

    def broadcast(self, value: Any) -> Any:
        """The value of rank 0, in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, items: list[Any]) -> list[Any]:
        """On rank 0 the items of all processes; elsewhere one's own."""
        if self.size == 1:
            return items
        boxes: list[Any] = [None] * self.size
        dist.gather_object(items, boxes if self.rank == 0 else None, dst=0)
        return [item for box in boxes for item in box] if self.rank == 0 else items
