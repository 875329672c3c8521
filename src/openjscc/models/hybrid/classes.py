"""Classes of blocks: tables of how large the residual's coefficients are, and the lossless code of the class map."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import numpy as np

from .residual import COEFFICIENTS, LEVELS, STEPS_PER_OCTAVE, bands

COUNT = 16
"""Classes of each table."""
LOWEST_QP, QPS_PER_TABLE = 12, 2
TABLES = (51 - LOWEST_QP) // QPS_PER_TABLE + 1 + 2
"""One for every two QPs of the base, one for bases of half the size, one for no base."""
TOP = 2**16
LEAST = 1e-2
"""Smallest expected mean square of a coefficient, in units of (1/255)^2."""
BIN_STARTS = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 1448)
BINS = len(BIN_STARTS) + 1
"""Blocks of the base fall into so many bins, by the sum of their coefficients' levels."""
PRIOR, STEP = 100, 24
"""Weight of what training photos say about a bin's classes, and of one label that was coded."""


class Tables(NamedTuple):
    """What both ends know of the residual of one kind of base.

    Attributes:
        size: of the coefficients of each class, log2 in 1 / `STEPS_PER_OCTAVE`; int16 ``(COUNT, COEFFICIENTS)``.
        gain: what the level of the base's coefficient adds, int16 ``(bands, levels)``.
        seen: how often training photos had each class in each bin, uint8 ``(BINS, COUNT)``.
        usual: the class of a block of each bin where none is sent, uint8 ``(BINS,)``.
    """

    size: np.ndarray
    gain: np.ndarray
    seen: np.ndarray
    usual: np.ndarray


@lru_cache(maxsize=TABLES)
def tables(number: int) -> Tables:
    """The tables of a `number_of`, which come with the package; ``python scripts/hybrid_tables.py`` makes them."""
    return Tables(*(part[number] for part in _packaged()))


@lru_cache(maxsize=1)
def _packaged() -> list[np.ndarray]:
    with resources.as_file(resources.files(__package__ or "") / "tables.npz") as path, np.load(path) as content:
        return [content[name] for name in Tables._fields]


def number_of(qp: int | None, half: bool) -> int:
    """Which of `tables` is for a base of that QP; None: there is no base."""
    if qp is None:
        return TABLES - 1
    return TABLES - 2 if half else max(qp - LOWEST_QP, 0) // QPS_PER_TABLE


def bins_of(levels: np.ndarray) -> np.ndarray:
    """The bin of each block of levels ``(blocks, COEFFICIENTS)``: how much the base shows there."""
    return np.digitize(levels.sum(axis=1, dtype=np.int64), BIN_STARTS)


def expected_sizes(tables: Tables, labels: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """log2 of the expected sizes, int16 ``(blocks, COEFFICIENTS)`` in 1 / `STEPS_PER_OCTAVE`.

    Args:
        tables: of the base.
        labels: class of each block, ``(blocks,)``.
        levels: as `openjscc.models.hybrid.residual.base_levels` gives them.
    """
    return tables.size[labels] + tables.gain[bands()[None], levels]


def classify(tables: Tables, coefficients: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The class that makes each block's coefficients likeliest, as independent Gaussians; int64 ``(blocks,)``."""
    energy = coefficients**2 * np.exp2(-2 / STEPS_PER_OCTAVE * tables.gain[bands()[None], levels].astype(np.float32))
    size = 2.0 / STEPS_PER_OCTAVE * tables.size.astype(np.float64)
    cost = energy @ np.exp2(-size).T.astype(np.float32) + np.log(2) * size.sum(axis=1)
    return cost.argmin(axis=1)


class _Frequencies:
    """Adaptive frequencies of the next label: the sum of what its bin and what its neighbours have had so far."""

    def __init__(self, bins: np.ndarray, width: int, seen: np.ndarray) -> None:
        self.width, self.bins = width, bins.tolist()
        self.of_bins: list[list[int]] = seen.astype(int).tolist()
        self.of_neighbours = [[2] * COUNT for _ in range(2 * COUNT)]

    def at(self, labels: list[int], place: int) -> tuple[list[int], list[int]]:
        """Both lists of counts for the label at a place, of which all before it are known."""
        left = labels[place - 1] if place % self.width else -1
        above = labels[place - self.width] if place >= self.width else -1
        if left < 0 or above < 0:
            left = above = max(left, above, COUNT // 2 if left == above else 0)
        return self.of_bins[self.bins[place]], self.of_neighbours[left + above]

    @staticmethod
    def count(both: tuple[list[int], list[int]], label: int) -> None:
        """Count a label; counts are halved before they grow too large for the coder."""
        for counts in both:
            counts[label] += STEP
            if sum(counts) > TOP // 8:
                counts[:] = [(count + 1) // 2 for count in counts]


def encode_map(labels: np.ndarray, bins: np.ndarray, width: int, seen: np.ndarray) -> bytes:
    """Classes ``(blocks,)`` to bytes: an adaptive arithmetic code (integers only).

    I. H. Witten, R. M. Neal, J. G. Cleary: Arithmetic coding for data compression, Commun. ACM 30(6), 1987.

    Args:
        labels: class of each block, in rows.
        bins: of the blocks, as `bins_of` gives them.
        width: blocks in a row.
        seen: as in `Tables`.
    """
    known, frequencies = labels.tolist(), _Frequencies(bins, width, seen)
    low, high, waiting, bits = 0, 2 * TOP**2 - 1, 0, []
    half, quarter = TOP**2, TOP**2 // 2
    for place, symbol in enumerate(known):
        both = frequencies.at(known, place)
        counts = [one + other for one, other in zip(*both, strict=True)]
        total, below = sum(counts), sum(counts[:symbol])
        span = high - low + 1
        high = low + span * (below + counts[symbol]) // total - 1
        low = low + span * below // total
        frequencies.count(both, symbol)
        while True:
            if high < half:
                bits += [0] + [1] * waiting
                waiting = 0
            elif low >= half:
                bits += [1] + [0] * waiting
                waiting, low, high = 0, low - half, high - half
            elif low >= quarter and high < half + quarter:
                waiting, low, high = waiting + 1, low - quarter, high - quarter
            else:
                break
            low, high = 2 * low, 2 * high + 1
    waiting += 1
    bits += [0] + [1] * waiting if low < quarter else [1] + [0] * waiting
    return np.packbits(bits).tobytes()


def decode_map(data: bytes, bins: np.ndarray, width: int, seen: np.ndarray) -> np.ndarray:
    """The classes int64 ``(blocks,)`` that `encode_map` coded, at the start of ``data``."""
    labels: list[int] = []
    frequencies = _Frequencies(bins, width, seen)
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).tolist()
    half, quarter = TOP**2, TOP**2 // 2
    low, high, position = 0, 2 * TOP**2 - 1, 33
    value = int("".join(map(str, (bits + [0] * 33)[:33])), 2)
    for place in range(len(bins)):
        both = frequencies.at(labels, place)
        counts = [one + other for one, other in zip(*both, strict=True)]
        total, span = sum(counts), high - low + 1
        target = ((value - low + 1) * total - 1) // span
        symbol, below = 0, 0
        while below + counts[symbol] <= target:
            below += counts[symbol]
            symbol += 1
        high = low + span * (below + counts[symbol]) // total - 1
        low = low + span * below // total
        frequencies.count(both, symbol)
        labels.append(symbol)
        while True:
            if high < half:
                pass
            elif low >= half:
                value, low, high = value - half, low - half, high - half
            elif low >= quarter and high < half + quarter:
                value, low, high = value - quarter, low - quarter, high - quarter
            else:
                break
            low, high = 2 * low, 2 * high + 1
            value = 2 * value + (bits[position] if position < len(bits) else 0)
            position += 1
    return np.array(labels, dtype=np.int64)


def train(samples: list[tuple[np.ndarray, np.ndarray]], classes: int, rounds: int = 12) -> Tables:
    """What `tables` has for one number, from blocks: hard-decision EM of a mixture of Gaussians.

    Args:
        samples: coefficients and levels, ``(n, COEFFICIENTS)`` each.
        classes: number of classes; sorted by size in the result.
        rounds: of assignment and estimation.
    """
    energy = np.concatenate([coefficients for coefficients, _ in samples]).astype(np.float32) ** 2
    levels = np.concatenate([level for _, level in samples])
    band = np.broadcast_to(bands()[None], levels.shape)
    place = band.astype(np.int64) * (len(LEVELS) + 1) + levels
    cells = (band.max() + 1) * (len(LEVELS) + 1)
    gain = np.ones(cells)
    total = energy.sum(axis=1)
    labels = np.digitize(total, np.quantile(total, np.linspace(0, 1, classes + 1)[1:-1]))
    size = np.zeros((classes, COEFFICIENTS))
    for _ in range(rounds):
        flat = energy / gain[place].astype(np.float32)
        for label in range(classes):
            members = labels == label
            if members.sum() > 8:
                size[label] = flat[members].mean(axis=0, dtype=np.float64)
            elif not size[label].any():
                size[label] = flat.mean(axis=0, dtype=np.float64)
        size = np.maximum(size, LEAST)
        ratio = energy / size[labels].astype(np.float32)
        seen = np.bincount(place.ravel(), minlength=cells)
        gain = (np.bincount(place.ravel(), weights=ratio.ravel(), minlength=cells) + 50) / (seen + 50)
        cost = (energy / gain[place].astype(np.float32)) @ (1 / size).T.astype(np.float32) + np.log(size).sum(axis=1)
        labels = cost.argmin(axis=1)
    order = np.argsort(size.sum(axis=1))
    quantize = lambda value: np.rint(STEPS_PER_OCTAVE / 2 * np.log2(value)).astype(np.int16)  # noqa: E731
    seen, usual = _of_bins(bins_of(levels), cost[:, order])
    return Tables(quantize(size[order]), quantize(gain).reshape(-1, len(LEVELS) + 1), seen, usual)


def _of_bins(bins: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each class is the likeliest of a block of each bin, and the class that suits the bin's blocks best."""
    classes = cost.shape[1]
    seen, usual = np.ones((BINS, classes), np.uint8), np.zeros(BINS, np.uint8)
    filled = np.flatnonzero(np.bincount(bins, minlength=BINS))
    for place in range(BINS):
        members = cost[bins == filled[np.abs(filled - place).argmin()]]
        share = np.bincount(members.argmin(axis=1), minlength=classes) / len(members)
        seen[place] = np.rint(1 + PRIOR * share)
        usual[place] = members.sum(axis=0).argmin()
    return seen, usual
