"""Quasi-cyclic LDPC graphs: what encoder and decoders share.

The parity-check matrix consists of Z×Z blocks that are zero or a cyclic shift: in the block of row r and column c with shift s,
check ``r*Z + i`` meets code bit ``c*Z + (i + s) % Z``. The information bits are the first block columns, the parity bits the
last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...errors import IntegrityError


@dataclass(frozen=True, eq=False)
class Graph:
    """A lifted base matrix. ``rows``, ``columns``, ``shifts`` are int32 ``(E,)``, one value per non-zero block, sorted by row."""

    z: int
    block_rows: int
    block_columns: int
    rows: np.ndarray
    columns: np.ndarray
    shifts: np.ndarray

    @staticmethod
    def make(z: int, block_rows: int, block_columns: int, entries: list[tuple[int, int, int]]) -> Graph:
        """From (row, column, shift); the shift is taken modulo Z."""
        rows, columns, shifts = np.array(sorted(entries), dtype=np.int32).T
        return Graph(z, block_rows, block_columns, rows.copy(), columns.copy(), (shifts % z).astype(np.int32))

    @property
    def information_columns(self) -> int:
        return self.block_columns - self.block_rows

    def leading(self, block_rows: int) -> Graph:
        """The first ``block_rows`` rows and their parity columns; later parity columns hang on later rows only."""
        columns = self.information_columns + block_rows
        kept = self.rows < block_rows
        if (self.columns[kept] >= columns).any():
            raise IntegrityError("a check row meets a later parity column", "the table of the code is damaged")
        return Graph(self.z, block_rows, columns, self.rows[kept], self.columns[kept], self.shifts[kept])

    def row(self, row: int) -> slice:
        """The entries of one block row."""
        start, stop = np.searchsorted(self.rows, [row, row + 1])
        return slice(int(start), int(stop))

    def checks(self, codeword: np.ndarray) -> np.ndarray:
        """Syndrome of codewords ``(B, N)`` of bits: uint8 ``(B, block_rows * Z)``, all zero for a codeword."""
        blocks = codeword.reshape(len(codeword), self.block_columns, self.z)
        syndrome = np.zeros((len(codeword), self.block_rows, self.z), dtype=np.uint8)
        for row, column, shift in self._entries():
            syndrome[:, row] ^= np.roll(blocks[:, column], -shift, axis=1)
        return syndrome.reshape(len(codeword), -1)

    @cached_property
    def _first_parity(self) -> tuple[list[int], int]:
        """The rows of the core, and the shift of the first parity column in their sum.

        An extension row has a parity column of its own; the others are the core. In the sum of the core rows the double diagonal
        cancels and the first parity column remains.
        """
        first = self.information_columns
        parity = self.columns >= first
        single = np.bincount(self.columns, minlength=self.block_columns) == 1
        extension = set(self.rows[parity & single[self.columns]].tolist())
        core = [row for row in range(self.block_rows) if row not in extension]
        left: set[tuple[int, int]] = set()
        for row, column, shift in self._entries():
            if column >= first and row not in extension:
                left ^= {(column, shift)}
        if len(left) != 1 or {column for column, _ in left} != {first}:
            raise IntegrityError("the parity part is not of the double-diagonal kind", "the table of the code is damaged")
        return core, left.pop()[1]

    def _entries(self) -> list[tuple[int, int, int]]:
        return list(zip(self.rows.tolist(), self.columns.tolist(), self.shifts.tolist(), strict=True))

    def encode(self, information: np.ndarray) -> np.ndarray:
        """Codewords uint8 ``(B, block_columns * Z)`` of information bits uint8 ``(B, information_columns * Z)``."""
        batch, z, first = len(information), self.z, self.information_columns
        # Every block twice in a row, so that a cyclic shift is a slice; blocks first, so that a slice is one long run per word.
        double = np.empty((self.block_columns, batch, 2 * z), dtype=np.uint8)
        double[:first, :, :z] = information.reshape(batch, first, z).transpose(1, 0, 2)
        double[:first, :, z:] = double[:first, :, :z]

        def put(column: int, value: np.ndarray, shift: int) -> None:
            """Column from its blocks as a check row sees them, i.e. shifted."""
            double[column, :, shift : shift + z] = value
            double[column, :, :shift] = value[:, z - shift :]
            double[column, :, z + shift :] = value[:, : z - shift]

        sums = np.zeros((self.block_rows, batch, z), dtype=np.uint8)
        for row, column, shift in self._entries():
            if column < first:
                sums[row] ^= double[column, :, shift : shift + z]
        core_rows, shift = self._first_parity
        put(first, np.bitwise_xor.reduce(sums[core_rows], axis=0), shift)
        for row, known, (column, shift) in self._order:
            value = sums[row]
            for other, by in known:
                value ^= double[other, :, by : by + z]
            put(column, value, shift)
        return double[:, :, :z].transpose(1, 0, 2).reshape(batch, -1)

    @cached_property
    def _order(self) -> list[tuple[int, list[tuple[int, int]], tuple[int, int]]]:
        """How the parity columns follow from one another: (row, its known parity columns, the one that it gives), with shifts."""
        first = self.information_columns
        parity: dict[int, list[tuple[int, int]]] = {}
        for row, column, shift in self._entries():
            if column >= first:
                parity.setdefault(row, []).append((column, shift))
        known, order = {first}, []
        while parity:
            ready = [r for r, entries in parity.items() if sum(c not in known for c, _ in entries) <= 1]
            if not ready:
                raise IntegrityError("the parity part is not of the double-diagonal kind", "the table of the code is damaged")
            row = ready[0]
            entries = parity.pop(row)
            new = [entry for entry in entries if entry[0] not in known]
            if new:
                order.append((row, [entry for entry in entries if entry[0] in known], new[0]))
                known.add(new[0][0])
        return order
