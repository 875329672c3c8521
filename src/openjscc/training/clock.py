"""When a sitting ends: its time, and Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time


class Clock:
    """Training time over all sittings, and the end of this one."""

    def __init__(self, before: float, minutes: float) -> None:
        self._start, self._before, self._minutes = time.monotonic(), before, minutes

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._start

    def out_of_time(self) -> bool:
        return time.monotonic() - self._start > 60 * self._minutes


class Interruption:
    """Turns the first Ctrl-C into a wish to stop after the current update, with a checkpoint; a second one stops at once."""

    asked = False

    def __enter__(self) -> Interruption:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._previous = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._previous)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
