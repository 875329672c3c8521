"""Polar codes for short messages with a CRC: encoder and list decoder, on numpy arrays.

E. Arikan: Channel polarization, IEEE Trans. Inf. Theory 55(7), 2009 (the code); I. Tal, A. Vardy: List decoding of polar
codes, IEEE Trans. Inf. Theory 61(5), 2015 (the decoder). 5G NR protects its control channels in this way.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LIST = 8
"""Paths that the decoder keeps."""


class PolarCode:
    """A polar code of mother length N = 2^m, of which ``n <= N`` coded bits are sent.

    The bits that are not sent are the first N - n in bit-reversed order (quasi-uniform puncturing).

    Args:
        n: coded bits that are sent.
        information: hexadecimal mask of N bits; the i-th bit from the left is 1 where input bit i carries information.
            The others are frozen to 0. Both ends must use one mask, so it is a constant and not computed.
    """

    def __init__(self, n: int, information: str) -> None:
        length = 4 * len(information)
        mask = np.array([int(bit) for bit in f"{int(information, 16):0{length}b}"], dtype=bool)
        self.n, self.length = n, length
        self.information = np.flatnonzero(mask)
        self.frozen = ~mask
        self.sent = sent_bits(n, length)

    @property
    def k(self) -> int:
        """Information bits."""
        return len(self.information)

    def encode(self, bits: np.ndarray) -> np.ndarray:
        """Information bits uint8 ``(B, k)`` to coded bits uint8 ``(B, n)``."""
        x = np.zeros((len(bits), self.length), dtype=np.uint8)
        x[:, self.information] = bits
        half = 1
        while half < self.length:  # x = u F^(kron m), F = [[1, 0], [1, 1]]
            pairs = x.reshape(len(x), -1, 2, half)
            pairs[:, :, 0] ^= pairs[:, :, 1]
            half *= 2
        return x[:, self.sent]

    def decode(
        self, llr: np.ndarray, check: Callable[[np.ndarray], np.ndarray], size: int = LIST
    ) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest of ``size`` paths that passes a check.

        Args:
            llr: log P(0) / P(1) of the sent bits, float32 ``(B, n)``.
            check: information bits uint8 ``(B, P, k)`` to bool ``(B, P)``, such as a CRC's.
            size: paths kept.

        Returns:
            Information bits uint8 ``(B, k)``, and bool ``(B,)``: whether any path passed.
        """
        whole = np.zeros((len(llr), self.length), dtype=np.float32)
        whole[:, self.sent] = llr
        search = _Search(self.frozen, len(llr), size)
        search.visit(whole[:, None], 0)
        order = search.penalty.argsort(axis=1, kind="stable")
        paths = search.bits[np.arange(len(llr))[:, None], order][:, :, self.information]
        passed = check(paths)
        best = passed.argmax(axis=1)  # the first that passed, else the likeliest
        return paths[np.arange(len(llr)), best], np.asarray(passed.any(axis=1))


class _Search:
    """Successive cancellation over a list: depth first through the code's tree.

    Attributes:
        bits: decided input bits uint8 ``(B, P, N)`` of the P paths.
        penalty: float32 ``(B, P)``, how much each path disagrees with the LLRs; lower is likelier.
    """

    def __init__(self, frozen: np.ndarray, batch: int, size: int) -> None:
        self.frozen, self.size = frozen, size
        self.rows = np.arange(batch)[:, None]
        self.bits = np.zeros((batch, 1, len(frozen)), dtype=np.uint8)
        self.penalty = np.zeros((batch, 1), dtype=np.float32)

    def visit(self, llr: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Decide the input bits of a subtree.

        Args:
            llr: of its coded bits, ``(B, P, width)``.
            start: number of its first input bit.

        Returns:
            Its coded bits ``(B, P', width)``, and for each path the one that it grew from ``(B, P')``; None: the same.
        """
        width = llr.shape[2]
        if self.frozen[start : start + width].all():
            self.penalty = self.penalty + np.maximum(-llr, 0).sum(axis=2)
            return np.zeros(llr.shape, dtype=np.uint8), None
        if width == 1:
            return self._decide(llr[:, :, 0], start)
        left, right = llr[:, :, : width // 2], llr[:, :, width // 2 :]
        upper = np.sign(left) * np.sign(right) * np.minimum(np.abs(left), np.abs(right))
        first, grew = self.visit(upper, start)
        if grew is not None:
            left, right = left[self.rows, grew], right[self.rows, grew]
        second, again = self.visit(right + (1 - 2 * first.astype(np.float32)) * left, start + width // 2)
        if again is not None:
            first = first[self.rows, again]
            grew = again if grew is None else np.take_along_axis(grew, again, axis=1)
        return np.concatenate([first ^ second, second], axis=2), grew

    def _decide(self, llr: np.ndarray, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Both values of an information bit for every path; the `size` likeliest go on."""
        count = llr.shape[1]
        penalty = np.concatenate([self.penalty + np.maximum(-llr, 0), self.penalty + np.maximum(llr, 0)], axis=1)
        kept = penalty.argsort(axis=1, kind="stable")[:, : self.size]
        grew, bit = kept % count, (kept >= count).astype(np.uint8)
        self.penalty = np.take_along_axis(penalty, kept, axis=1)
        self.bits = self.bits[self.rows, grew]
        self.bits[:, :, place] = bit
        return bit[:, :, None], grew


def sent_bits(n: int, length: int) -> np.ndarray:
    """Places of the ``n`` sent bits among ``length`` coded bits, ascending."""
    index = np.arange(length)
    reverse = np.zeros_like(index)
    for bit in range(length.bit_length() - 1):
        reverse = reverse << 1 | index >> bit & 1
    return np.sort(reverse[length - n :])
