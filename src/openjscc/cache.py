"""Results that take long to make, kept in memory up to a limit."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

from .stopwatch import active

T = TypeVar("T")


class Entry(NamedTuple):
    """A result, the bytes that it counts, and the seconds that it took."""

    value: Any
    size: int
    seconds: float = 0.0


class Cache:
    """Results by key, up to a number of bytes. Safe for several threads; a copy in another process starts empty.

    Args:
        most_bytes: of all results together. What is larger by itself is never kept.
        evict: the least recently used results make room for new ones. False: the first ones stay, and what does not fit is not
            kept; that is better where all are read in turn, again and again.

    Attributes:
        bytes: held now.
    """

    def __init__(self, most_bytes: int, evict: bool = True) -> None:
        self.most_bytes, self.evict = most_bytes, evict
        self.bytes = 0
        self._kept: OrderedDict[Hashable, Entry] = OrderedDict()
        self._running: dict[Hashable, threading.Event] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.most_bytes, self.evict)

    def find(self, key: Hashable) -> Entry | None:
        """What is kept under the key."""
        with self._lock:
            return self._find(key)

    def keep(self, key: Hashable, entry: Entry) -> None:
        """Keep a result, if there is room."""
        with self._lock:
            old = self._kept.pop(key, None)
            self.bytes -= old.size if old else 0
            if entry.size > (self.most_bytes if self.evict else self.most_bytes - self.bytes):
                return
            self._kept[key] = entry
            self.bytes += entry.size
            while self.bytes > self.most_bytes:
                self.bytes -= self._kept.popitem(last=False)[1].size

    def once(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """What is kept under the key, else made now. Threads that ask for the same key wait for the first.

        What is found is credited to the `openjscc.stopwatch` of whoever measures the time.
        """
        start, watch = time.perf_counter(), active()
        while True:
            with self._lock:
                entry = self._find(key)
                running = self._running.get(key)
                if entry is None and running is None:
                    mine = self._running[key] = threading.Event()
                    break
            if entry is not None:
                if watch is not None:  # of what another thread made just now, the clock saw the waiting
                    watch.found((id(self), key), max(0.0, entry.seconds - (time.perf_counter() - start)))
                return entry.value
            if running is not None:
                running.wait()
        try:
            start = time.perf_counter()
            value = make()
            seconds = time.perf_counter() - start
            if watch is not None:
                watch.made((id(self), key))
            self.keep(key, Entry(value, size(value), seconds))
            return value
        finally:
            with self._lock:
                del self._running[key]
            mine.set()

    def _find(self, key: Hashable) -> Entry | None:
        entry = self._kept.get(key)
        if entry is not None:
            self._kept.move_to_end(key)
        return entry
