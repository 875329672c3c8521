"""Classes of blocks: tables of how large the residual's coefficients are, and the lossless code of the class map."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

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


@lru_cache(maxsize=1)
def tables() -> tuple[np.ndarray, np.ndarray]:
    """The tables that come with the package: int16 ``(TABLES, COUNT, COEFFICIENTS)``, and gains ``(TABLES, bands, levels)``.

    ``python scripts/hybrid_tables.py`` makes them.
    """
    with resources.as_file(resources.files(__package__ or "") / "tables.npz") as path, np.load(path) as content:
        return content["table"], content["gain"]


def number_of(qp: int | None, half: bool) -> int:
    """Which of `tables` is for a base of that QP; None: there is no base."""
    if qp is None:
        return TABLES - 1
    return TABLES - 2 if half else max(qp - LOWEST_QP, 0) // QPS_PER_TABLE


def expected_sizes(table: np.ndarray, gain: np.ndarray, labels: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """log2 of the expected sizes, int16 ``(blocks, COEFFICIENTS)`` in 1 / `STEPS_PER_OCTAVE`.

    Args:
        table: int16 ``(classes, COEFFICIENTS)``.
        gain: int16 ``(bands, levels)``, what the size of the base's coefficient adds.
        labels: class of each block, ``(blocks,)``.
        levels: as `openjscc.models.hybrid.residual.base_levels` gives them.
    """
    return table[labels] + gain[bands()[None], levels]


def classify(table: np.ndarray, gain: np.ndarray, coefficients: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The class that makes each block's coefficients likeliest, as independent Gaussians; int64 ``(blocks,)``."""
    energy = coefficients**2 * np.exp2(-2 / STEPS_PER_OCTAVE * gain[bands()[None], levels].astype(np.float32))
    size = 2.0 / STEPS_PER_OCTAVE * table.astype(np.float64)
    cost = energy @ np.exp2(-size).T.astype(np.float32) + np.log(2) * size.sum(axis=1)
    return cost.argmin(axis=1)


class Model:
    """Adaptive frequencies of one context."""

    def __init__(self, symbols: int) -> None:
        self.counts = [8] * symbols

    def update(self, symbol: int) -> None:
        """Count a symbol; counts are halved before they grow too large for the coder."""
        self.counts[symbol] += 24
        if sum(self.counts) > TOP // 4:
            self.counts = [(count + 1) // 2 for count in self.counts]


def _contexts(shape: tuple[int, int], classes: int) -> tuple[list[Model], int]:
    return [Model(classes) for _ in range(2 * classes)], shape[1]


def _context(labels: list[int], place: int, width: int, classes: int) -> int:
    """Which model codes the next label: the rounded mean of the neighbours on the left and above."""
    left = labels[place - 1] if place % width else None
    above = labels[place - width] if place >= width else None
    if left is None and above is None:
        return classes - 1
    if left is None or above is None:
        return 2 * (left if left is not None else above)  # pyright: ignore[reportOperatorIssue, reportReturnType]
    return left + above


def encode_map(labels: np.ndarray, shape: tuple[int, int], classes: int) -> bytes:
    """Class map ``(blocks,)`` of ``shape`` blocks, in rows, to bytes: an adaptive arithmetic code (integers only).

    I. H. Witten, R. M. Neal, J. G. Cleary: Arithmetic coding for data compression, Commun. ACM 30(6), 1987.
    """
    models, width = _contexts(shape, classes)
    known = labels.tolist()
    low, high, waiting, bits = 0, 2 * TOP**2 - 1, 0, []
    half, quarter = TOP**2, TOP**2 // 2
    for place, symbol in enumerate(known):
        model = models[_context(known, place, width, classes)]
        total, below = sum(model.counts), sum(model.counts[:symbol])
        span = high - low + 1
        high = low + span * (below + model.counts[symbol]) // total - 1
        low = low + span * below // total
        model.update(symbol)
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


def decode_map(data: bytes, shape: tuple[int, int], classes: int) -> np.ndarray:
    """The class map int64 ``(blocks,)`` that `encode_map` made, at the start of ``data``."""
    models, width = _contexts(shape, classes)
    labels: list[int] = []
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).tolist()
    half, quarter = TOP**2, TOP**2 // 2
    low, high, position = 0, 2 * TOP**2 - 1, 33
    value = int("".join(map(str, (bits + [0] * 33)[:33])), 2)
    for place in range(shape[0] * shape[1]):
        model = models[_context(labels, place, width, classes)]
        total, span = sum(model.counts), high - low + 1
        target = ((value - low + 1) * total - 1) // span
        symbol, below = 0, 0
        while below + model.counts[symbol] <= target:
            below += model.counts[symbol]
            symbol += 1
        high = low + span * (below + model.counts[symbol]) // total - 1
        low = low + span * below // total
        model.update(symbol)
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


def train(samples: list[tuple[np.ndarray, np.ndarray]], classes: int, rounds: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Tables `table` and `gain` of `expected_sizes` from blocks: hard-decision EM of a mixture of Gaussians.

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
    return quantize(size[order]), quantize(gain).reshape(-1, len(LEVELS) + 1)
