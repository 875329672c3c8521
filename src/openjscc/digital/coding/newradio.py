"""The LDPC code of 5G NR: 3GPP TS 38.212, one code block, redundancy version 0, no limit on the circular buffer."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np

from ...errors import UsageError
from .block import BlockCode
from .graph import Graph

LARGEST = {1: 8448, 2: 3840}
"""Bits in one code block, clause 5.2.2."""
SHAPE = {1: (46, 68), 2: (42, 52)}
LIFTING_SETS = (2, 3, 5, 7, 9, 11, 13, 15)
"""Z is one of these times a power of two, at most 384: table 5.3.2-1."""
FACTOR = 48
"""Scale of the messages in 64ths; the best of 44 to 58 over rates 1/3 to 2/3, at a BLER of 0.001 to 0.4."""


def base_graph(k: int, n: int) -> int:
    """Base graph for k bits at rate k/n: clauses 6.2.2 and 7.2.2."""
    rate = k / n
    return 2 if k <= 292 or (k <= 3824 and rate <= 0.67) or rate <= 0.25 else 1


def lifting(k: int, base: int) -> tuple[int, int]:
    """Lifting size Z and its set index: clause 5.2.2, the smallest Z with K_b·Z >= k."""
    columns = 22 if base == 1 else 10 if k > 640 else 9 if k > 560 else 8 if k > 192 else 6
    sizes = [(a << j, index) for index, a in enumerate(LIFTING_SETS) for j in range(8) if a << j <= 384]
    return min(size for size in sizes if columns * size[0] >= k)


@lru_cache(maxsize=2)
def _table(base: int) -> np.ndarray:
    text = (files("openjscc.digital.coding") / "tables" / f"nr_bg{base}.csv").read_text(encoding="ascii")
    return np.array([line.split(",") for line in text.splitlines() if not line.startswith("#")], dtype=np.int32)


@lru_cache(maxsize=32)
def graph(base: int, z: int, lifting_set: int) -> Graph:
    """A base graph lifted by Z."""
    rows, columns = SHAPE[base]
    return Graph.make(z, rows, columns, [tuple(entry) for entry in _table(base)[:, [0, 1, 2 + lifting_set]].tolist()])


@lru_cache(maxsize=64)
def nr(k: int, n: int, bits_per_symbol: int = 1) -> BlockCode:
    """The 5G NR code for k bits (a CRC included, if there is one) and n sent bits.

    The first two block columns are not sent, filler bits neither; the rest goes round the circular buffer of clause 5.4.2.1 and
    through the bit interleaver of clause 5.4.2.2.

    Args:
        k: bits given to the encoder, at most 8448 (base graph 1) or 3840 (base graph 2).
        n: coded bits, a multiple of ``bits_per_symbol``; more than the buffer holds are repetitions.
        bits_per_symbol: Q_m of the interleaver; 1 leaves the order alone.
    """
    if k < 1 or n < 1 or bits_per_symbol < 1:
        raise UsageError(f"5G NR code of k = {k}, n = {n}, {bits_per_symbol} bits per symbol", "all three are at least 1")
    if n <= k:
        raise UsageError(f"n = {n} coded bits for k = {k}", "n must be greater than k")
    if n % bits_per_symbol:
        raise UsageError(
            f"n = {n} is no multiple of {bits_per_symbol} bits per symbol", "choose n as symbols times bits per symbol"
        )
    base = base_graph(k, n)
    if k > LARGEST[base]:
        raise UsageError(
            f"k = {k} at rate {k / n:.2f}: one code block of base graph {base} takes {LARGEST[base]} bits",
            "split the bits into several blocks",
        )
    z, lifting_set = lifting(k, base)
    mother = graph(base, z, lifting_set)
    information = mother.information_columns * z
    buffer = np.arange(2 * z, mother.block_columns * z)
    buffer = buffer[(buffer < k) | (buffer >= information)]
    in_order = np.resize(buffer, n)
    rows = max(-(-(int(in_order.max()) + 1 - information) // z), 4)
    sent = in_order.reshape(bits_per_symbol, -1).T.reshape(-1)
    return BlockCode(f"5G NR ({k},{n})", k, sent, mother.leading(rows), FACTOR)
