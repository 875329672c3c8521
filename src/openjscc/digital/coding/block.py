"""A binary block code: bits to coded bits, log-likelihood ratios to bits."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from ...errors import UsageError
from .graph import Graph
from .schedule import Schedule

if TYPE_CHECKING:
    import torch

ITERATIONS = 30
"""Default of the most iterations for one block."""
ATTEMPTS = ((ITERATIONS, None), (100, None), (100, 56))
"""Iterations and scale of the messages (in 64ths; None: the code's own) of each attempt of `BlockCode.decode_thoroughly`. Long
blocks need the iterations near the threshold. Above it some blocks are caught for good at the scale that is best there, and
free at another."""
LARGEST_LLR = 20.0
"""Beyond it a bit is certain enough. At high SNR most bits of a large constellation have LLRs a hundred times those of the
others, which are all that the decoder has to work on, and which its integers would not resolve beside them."""
ENCODE_AT_ONCE = 64


class BlockCode:
    """An LDPC code with a systematic encoder and a layered, normalised min-sum decoder.

    Bits are uint8 0 or 1. An LLR is log P(bit = 0) / P(bit = 1): positive means 0. Their common scale does not matter. Blocks are
    decoded one by one, so a result never depends on the other blocks of the batch. Make codes with `ieee80211n` and `nr`.

    Attributes:
        name: e.g. ``802.11n (1458,1944)``.
        k: information bits in.
        n: coded bits out.
        sent: for each coded bit its place in the codeword of the mother code, int64 ``(n,)``.
    """

    def __init__(self, name: str, k: int, sent: np.ndarray, graph: Graph, factor: int) -> None:
        self.name, self.k, self.n = name, k, len(sent)
        self.sent = sent
        self.sent.flags.writeable = False
        self._graph, self._factor = graph, factor
        self._places, self._place_of = np.unique(self.sent, return_inverse=True)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def rate(self) -> float:
        return self.k / self.n

    def parity_check_matrix(self) -> np.ndarray:
        """H of the mother code, uint8 ``(checks, N)``; for 5G NR only the checks that the sent bits need. `sent` says which of
        the N bits are sent; bits from k to the first parity bit are zero."""
        graph = self._graph
        matrix = np.zeros((graph.block_rows * graph.z, graph.block_columns * graph.z), dtype=np.uint8)
        i = np.arange(graph.z)
        for row, column, shift in zip(graph.rows, graph.columns, graph.shifts, strict=True):
            matrix[row * graph.z + i, column * graph.z + (i + shift) % graph.z] = 1
        return matrix

    @cached_property
    def _schedule(self) -> Schedule:
        return Schedule.make(self._graph, self.k, self._places if self._repeats else self.sent, self._factor)

    @property
    def _repeats(self) -> bool:
        """Whether some bits are sent more than once."""
        return len(self._places) < self.n

    def encode(self, bits: np.ndarray) -> np.ndarray:
        """Coded bits uint8 ``(B, n)`` of information bits uint8 ``(B, k)``."""
        bits = np.asarray(bits)
        if bits.ndim != 2 or bits.shape[1] != self.k:
            raise UsageError(f"bits of shape {bits.shape} for {self.name}", f"give (B, {self.k})")
        if bits.dtype != np.uint8 or bits.max(initial=0) > 1:
            raise UsageError(f"bits of type {bits.dtype} that are not all 0 or 1", "give uint8 values 0 and 1")
        coded = np.empty((len(bits), self.n), dtype=np.uint8)
        for start in range(0, len(bits), ENCODE_AT_ONCE):
            part = bits[start : start + ENCODE_AT_ONCE]
            whole = np.zeros((len(part), self._graph.information_columns * self._graph.z), dtype=np.uint8)
            whole[:, : self.k] = part
            coded[start : start + ENCODE_AT_ONCE] = self._graph.encode(whole)[:, self.sent]
        return coded

    @overload
    def decode(self, llr: np.ndarray, iterations: int = ITERATIONS) -> tuple[np.ndarray, np.ndarray]: ...
    @overload
    def decode(self, llr: torch.Tensor, iterations: int = ITERATIONS) -> tuple[torch.Tensor, torch.Tensor]: ...
    def decode(self, llr, iterations=ITERATIONS):
        """Most likely information bits.

        Args:
            llr: float ``(B, n)``, array or tensor. 0 is an erasure, NaN is taken as one, infinity as certainty.
            iterations: at most so many; a block stops as soon as all its checks hold.

        Returns:
            bits uint8 ``(B, k)`` and ok bool ``(B,)``, of the kind and on the device of ``llr``. ok: all checks hold, and no
            information bit was left undecided.
        """
        import torch

        if llr.ndim != 2 or llr.shape[1] != self.n:
            raise UsageError(f"LLRs of shape {tuple(llr.shape)} for {self.name}", f"give (B, {self.n})")
        if iterations < 0:
            raise UsageError(f"{iterations} iterations", "give 0 or more")
        if isinstance(llr, np.ndarray):
            if llr.dtype.kind != "f":
                raise UsageError(f"LLRs of type {llr.dtype}", "give floating-point numbers")
            bits, ok = self.decode(torch.from_numpy(np.ascontiguousarray(llr, dtype=np.float32)), iterations)
            return bits.numpy(), ok.numpy()
        if not llr.is_floating_point():
            raise UsageError(f"LLRs of type {llr.dtype}", "give floating-point numbers")
        compiled = _compiled()
        if compiled and llr.device.type == "cpu":
            combined = self._combined(llr.detach().float()).numpy()
            bits, ok = compiled.decode(self._schedule, np.ascontiguousarray(combined), iterations)
            return torch.from_numpy(bits), torch.from_numpy(ok)
        return self.decode_torch(llr, iterations)

    def _combined(self, llr: torch.Tensor) -> torch.Tensor:
        """The sum of all LLRs of a bit that is sent several times, taken before the decoder bounds their range."""
        if not self._repeats:
            return llr
        import torch

        place = torch.from_numpy(self._place_of).to(llr.device)
        return llr.new_zeros(len(llr), len(self._places)).index_add_(1, place, llr.nan_to_num(nan=0.0))

    def decode_thoroughly(self, llr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`decode`, and again whatever has not arrived, as `ATTEMPTS` say.

        Arguments and results as of `decode`, but here the scale of the LLRs matters: they count up to `LARGEST_LLR`.
        """
        llr = llr.clamp(-LARGEST_LLR, LARGEST_LLR)
        bits, ok = self.decode(llr)
        for iterations, factor in ATTEMPTS[1:]:
            left = (~ok).nonzero().flatten()
            if len(left):
                code = self if factor is None else self._with_factor(factor)
                bits[left], ok[left] = code.decode(llr[left], iterations)
        return bits, ok

    def _with_factor(self, factor: int) -> BlockCode:
        """The same code, decoded at another scale of the messages."""
        return BlockCode(self.name, self.k, self.sent, self._graph, factor)

    def decode_torch(self, llr: torch.Tensor, iterations: int = ITERATIONS) -> tuple[torch.Tensor, torch.Tensor]:
        """`decode` with tensor operations, on the device of ``llr``: the same decisions."""
        from .minsum_torch import decode

        if llr.ndim != 2 or llr.shape[1] != self.n:
            raise UsageError(f"LLRs of shape {tuple(llr.shape)} for {self.name}", f"give (B, {self.n})")
        return decode(self._schedule, self._combined(llr.detach().float()), iterations)


def _compiled():
    """The compiled decoder, or None without numba."""
    try:
        from . import minsum_numba
    except ImportError:
        return None
    return minsum_numba
