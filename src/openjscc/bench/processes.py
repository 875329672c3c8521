"""Several processes on one benchmark, as ``torchrun`` starts them."""

from __future__ import annotations

import itertools
import os
import pickle
from datetime import timedelta
from typing import Any

import torch.distributed as dist

PATIENCE = timedelta(days=7)
"""How long one process waits for the others."""
_TURN = itertools.count()
"""Numbers what is said, the same in all processes, so that no key is used twice."""


class Team:
    """The processes of a run: one, or those that ``torchrun`` made.

    They talk through torchrun's own key-value store, once before the work and once after it.

    Attributes:
        rank: number of this process.
        size: how many there are.
    """

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        if self.size > 1:
            self._store, _, _ = next(iter(dist.rendezvous("env://", self.rank, self.size)))
            self._store.set_timeout(PATIENCE)

    def broadcast(self, value: Any) -> Any:
        """The value of rank 0, in every process."""
        if self.size == 1:
            return value
        key = f"openjscc/{next(_TURN)}"
        if self.rank == 0:
            self._store.set(key, pickle.dumps(value))  # pyright: ignore[reportArgumentType]
            return value
        return pickle.loads(self._store.get(key))

    def gather(self, items: list[Any]) -> list[Any]:
        """On rank 0 the items of all processes, rank by rank; elsewhere one's own."""
        if self.size == 1:
            return items
        turn = next(_TURN)
        keys = [f"openjscc/{turn}/{rank}" for rank in range(self.size)]
        if self.rank > 0:
            self._store.set(keys[self.rank], pickle.dumps(items))  # pyright: ignore[reportArgumentType]
            return items
        return [*items, *(item for key in keys[1:] for item in pickle.loads(self._store.get(key)))]
