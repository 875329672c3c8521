"""The best file that fits a number of bytes, with few encodes."""

from __future__ import annotations

import bisect
import hashlib
import math
import threading
from dataclasses import dataclass

import numpy as np

from ...cache import Cache
from ._base import SourceCodec, check_picture

ESTIMATE_POINTS = 13
"""About so many qualities, evenly spread, does `RateControl.estimate` look at."""
OVERHEAD = 200
"""Bytes of a kept result besides the result."""


@dataclass(frozen=True)
class Fitted:
    """A file and the quality that it was made with."""

    data: bytes
    quality: int


class RateControl:
    """Files of a codec by budget, each made once and kept. Safe to use from several threads.

    What is found instead of made is credited to the `openjscc.stopwatch` of whoever measures the time.

    Args:
        codec: the source codec.
        cache_bytes: how much is kept (files and their PSNR); what was not used for longest goes first.

    Attributes:
        encodes: number of files really made so far.
    """

    def __init__(self, codec: SourceCodec, cache_bytes: int = 512 * 2**20) -> None:
        self.codec = codec
        self.encodes = 0
        self._scale = [codec.log_size(quality) for quality in codec.qualities]
        self._cache = Cache(cache_bytes)
        self._lock = threading.Lock()

    def fit(self, picture: np.ndarray, budget: int, start: int | None = None) -> Fitted | None:
        """The best quality whose file has at most ``budget`` bytes; None where there is none.

        Sizes rise with the quality, but for rare small steps back. Where they do rise, the result is the highest quality that
        fits. Else it is one that fits and whose next higher one does not (or is not there), and which of these depends on the
        image and the budget alone, not on what was asked for before.

        Args:
            picture: uint8 ``(H, W, 3)``.
            budget: bytes.
            start: a good guess of the quality, for a hasty search: it ends at a file that fits where by `SourceCodec.log_size`
                the next better one would not, and does not try that.
        """
        key = _digest(picture)
        qualities = self.codec.qualities
        low, high = -1, len(qualities)  # indices: low fits, high does not
        probed: list[tuple[float, float]] = []
        guess = self.codec.first_guess(8 * budget * 3 / picture.size) if start is None else start
        first = qualities.index(min(max(guess, qualities[0]), qualities[-1]))
        for left in range(high.bit_length() + 2, -1, -1):  # at worst three probes more than plain bisection
            if high - low == 1:
                break
            reach = 2**left  # wide at first; in the end guesses must leave what bisection can finish
            index = min(max(self._guess(probed, budget, first), low + 1, high - reach), high - 1, low + reach)
            size = len(self._file(key, picture, qualities[index]))
            probed.append((self._scale[index], math.log(max(1, size))))
            if size > budget:
                high = index
                continue
            low = index
            if start is not None and high > low + 1 and size * math.exp(self._scale[low + 1] - self._scale[low]) > budget:
                break
        return None if low < 0 else Fitted(self._file(key, picture, qualities[low]), qualities[low])

    def psnr(self, picture: np.ndarray, quality: int) -> float:
        """PSNR of that file in dB over the 8-bit values of all pixels and channels; infinite where nothing is lost."""
        key = (_digest(picture), quality, "psnr")
        return self._cache.once(key, lambda: _psnr(picture, self._decoded(picture, quality)), lambda _: 64 + OVERHEAD)

    def estimate(self, picture: np.ndarray, budget: int) -> float | None:
        """About the PSNR in dB that `fit` reaches, from files of every few qualities only; None where not even the smallest fits.

        Between the two neighbouring ones of these that enclose the budget, PSNR is taken as linear in the logarithm of the size.
        """
        key = _digest(picture)
        qualities = self.codec.qualities
        step = max(1, len(qualities) // ESTIMATE_POINTS)
        grid = [*qualities[:-1:step], qualities[-1]]
        low, high = -1, len(grid)
        while high - low > 1:
            middle = (low + high) // 2
            if len(self._file(key, picture, grid[middle])) <= budget:
                low = middle
            else:
                high = middle
        if low < 0:
            return None if self.fit(picture, budget) is None else self.psnr(picture, grid[0])
        worse = self.psnr(picture, grid[low])
        if high == len(grid):
            return worse
        small, large = (math.log(len(self._file(key, picture, grid[index]))) for index in (low, high))
        share = (math.log(budget) - small) / max(large - small, 1e-9)
        better = min(self.psnr(picture, grid[high]), worse + 20.0)  # a file without loss has an infinite PSNR
        return worse + share * (better - worse) if math.isfinite(worse) else worse

    def _guess(self, probed: list[tuple[float, float]], budget: int, start: int) -> int:
        """Index to try next: ``start`` at first, then on a line through the two probes nearest to the budget, in the logarithm
        of the size."""
        if not probed:
            return start
        goal = math.log(max(1, budget))
        (at, size), *others = sorted(probed, key=lambda probe: abs(probe[1] - goal))
        slope = 1.0
        if others and others[0][0] != at:
            slope = (others[0][1] - size) / (others[0][0] - at)
        return bisect.bisect_right(self._scale, at + (goal - size) / slope if slope > 0 else at) - 1

    def _decoded(self, picture: np.ndarray, quality: int) -> np.ndarray:
        return self.codec.decode(self._file(_digest(picture), picture, quality), *picture.shape[:2])

    def _file(self, key: bytes, picture: np.ndarray, quality: int) -> bytes:
        def make() -> bytes:
            data = self.codec.encode(picture, quality)
            with self._lock:
                self.encodes += 1
            return data

        return self._cache.once((key, quality, "file"), make, lambda data: len(data) + OVERHEAD)


def _digest(picture: np.ndarray) -> bytes:
    check_picture(picture)
    return hashlib.blake2b(repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes(), digest_size=20).digest()


def _psnr(picture: np.ndarray, other: np.ndarray) -> float:
    error = float(np.mean((picture.astype(np.float64) - other.astype(np.float64)) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error / 255**2)
