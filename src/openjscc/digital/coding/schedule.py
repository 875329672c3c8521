"""What both decoders do, in numbers: fixed-point format, order of the checks, and where each block of messages starts.

Layered normalised min-sum in integers, after D. E. Hocevar, "A reduced complexity decoder architecture via layered decoding of
LDPC codes" (SiPS 2004), and J. Chen and M. Fossorier, "Near optimum universal belief propagation based decoding of low-density
parity check codes" (IEEE Trans. Commun., 2002). With L the values of the bits and R the messages of the checks, a layer does

    T = L - R,   R' = scale * sign * min over the others |T|,   L = T + R'

An LLR becomes an integer with UNIT to 2*UNIT as the typical magnitude of a block (the mean of the binary exponents: in large
constellations a few bits have magnitudes a hundred times those of others, and must not drown them). The scale is a power of
two, so that every implementation rounds alike. Bounds: |LLR| <= CERTAIN, |R| < LARGEST_MINIMUM, at most 30 checks to a bit, so
L fits 16 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .graph import Graph

UNIT = 32
CERTAIN = 16384
"""Value of a known bit, and the bound for received ones: with 30 messages against it, it is still larger than any message."""
LARGEST_MINIMUM = 584
SCALE_SHIFT = 6
"""A message is (minimum * factor) >> SCALE_SHIFT; the factor of a code is about 0.8 * 64."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """A graph prepared for decoding: known blocks are left out."""

    z: int
    factor: int
    k: int
    start: np.ndarray
    """int16 ``(block_columns, Z)``: L before anything is received: CERTAIN for known zeros, else 0."""
    sent: np.ndarray
    """int32 ``(n,)``: the place in the codeword of each received LLR."""
    row_start: np.ndarray
    """int32 ``(block_rows + 1,)``."""
    columns: np.ndarray
    shifts: np.ndarray
    """int32 ``(E,)`` both."""
    turn: np.ndarray
    """int32 ``(E,)``: the shift of an entry relative to that of the entry before it in the same column (cyclically)."""
    check_turn: np.ndarray
    """int32 ``(E,)``: the shift relative to that of the last entry of the column."""
    last: np.ndarray
    """int32 ``(block_columns,)``: the shift of the last entry of the column."""

    @staticmethod
    def make(graph: Graph, k: int, sent: np.ndarray, factor: int) -> Schedule:
        z = graph.z
        start = np.zeros(graph.block_columns * z, dtype=np.int16)
        start[k : graph.information_columns * z] = CERTAIN
        start = start.reshape(graph.block_columns, z)
        kept = ~(start == CERTAIN).all(1)[graph.columns]
        rows, columns, shifts = graph.rows[kept], graph.columns[kept], graph.shifts[kept]
        last = np.zeros(graph.block_columns, dtype=np.int32)
        last[columns] = shifts  # the last assignment stands
        turn = np.zeros_like(shifts)
        before = last.copy()
        for e, (column, shift) in enumerate(zip(columns, shifts, strict=True)):
            turn[e] = (shift - before[column]) % z
            before[column] = shift
        return Schedule(
            z,
            factor,
            k,
            start,
            sent.astype(np.int32),
            np.searchsorted(rows, np.arange(graph.block_rows + 1)).astype(np.int32),
            columns,
            shifts,
            turn,
            ((shifts - last[columns]) % z).astype(np.int32),
            last,
        )
