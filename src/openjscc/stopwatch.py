"""The time that something takes, with what it would have taken where an earlier result was found in a memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Stopwatch:
    """What the code of one `timing` did not have to do again.

    Attributes:
        spared: seconds to add to those of the clock.
    """

    def __init__(self) -> None:
        self.spared = 0.0
        self._met: set[Hashable] = set()

    def made(self, key: Hashable) -> None:
        """A result was made here: to find it later costs nothing in either case."""
        self._met.add(key)

    def found(self, key: Hashable, seconds: float) -> None:
        """A result was found that once took so long to make. It counts once."""
        if key not in self._met:
            self._met.add(key)
            self.spared += seconds


_ACTIVE: ContextVar[Stopwatch | None] = ContextVar("openjscc_stopwatch", default=None)


def active() -> Stopwatch | None:
    """That of the `timing` around, in this thread."""
    return _ACTIVE.get()


@contextmanager
def timing() -> Iterator[Stopwatch]:
    """Memories used within tell the stopwatch what they spared."""
    watch = Stopwatch()
    token = _ACTIVE.set(watch)
    try:
        yield watch
    finally:
        _ACTIVE.reset(token)
