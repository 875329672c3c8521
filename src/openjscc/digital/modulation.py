"""Modulation: bits to complex symbols of unit mean power with Gray labels, and received symbols to log-likelihood ratios."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from ..errors import UsageError, unknown_name

DEMAPPERS = ("exact", "max-log")
CHUNK = 2**16
"""Symbols that are demapped at once: enough for all cores, and memory stays bounded."""
FAR = -80.0
"""Logarithm of a likelihood, relative to the largest, that counts as zero: numbers below are slow (denormal), then nothing."""
SMALLEST = 1e-30
"""Sums of likelihoods, relative to the largest, below which the nearest point alone counts."""


@dataclass(frozen=True)
class Modulation:
    """A square QAM (or BPSK), labelled as in 3GPP TS 38.211, section 5.1.

    Bits 0, 2, 4, ... of a symbol choose the real part and bits 1, 3, 5, ... the imaginary part, each of them a Gray-labelled PAM
    whose first bit is the sign. BPSK is on the real axis here.

    Attributes:
        name: ``bpsk``, ``qpsk``, ``16qam``, ``64qam`` or ``256qam``.
        bits_per_symbol: 1, 2, 4, 6 or 8.
    """

    name: str
    bits_per_symbol: int

    @property
    def dimensions(self) -> int:
        """Real dimensions that carry bits: 1 for BPSK, else 2."""
        return min(self.bits_per_symbol, 2)

    @property
    def levels(self) -> torch.Tensor:
        """float32 ``(2**m,)``, m bits per real dimension: the amplitude of each label, mean symbol energy 1."""
        return _levels(self.bits_per_symbol // self.dimensions, self.dimensions)

    @property
    def points(self) -> torch.Tensor:
        """complex64 ``(2**bits_per_symbol,)``: the symbol of each label, its bits most significant first."""
        labels = torch.arange(2**self.bits_per_symbol)
        bits = (labels[:, None] >> torch.arange(self.bits_per_symbol - 1, -1, -1)) & 1
        return self.map(bits.to(torch.uint8)).squeeze(1)

    def map(self, bits: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Bits uint8 ``(..., bits_per_symbol * k)`` to symbols complex64 ``(..., k)``.

        Raises:
            UsageError: for a number of bits that is no multiple of `bits_per_symbol`.
        """
        bits = torch.as_tensor(bits)
        if bits.shape[-1] % self.bits_per_symbol:
            raise UsageError(f"{bits.shape[-1]} bits for {self.name}", f"a symbol carries {self.bits_per_symbol} of them")
        per_dimension = self.bits_per_symbol // self.dimensions
        grouped = bits.unflatten(-1, (-1, per_dimension, self.dimensions)).unbind(-2)
        label = functools.reduce(lambda before, bit: 2 * before + bit, grouped)
        amplitude = self.levels.to(bits.device)[label.int()]
        if self.dimensions == 1:
            amplitude = torch.cat([amplitude, torch.zeros_like(amplitude)], dim=-1)
        return torch.view_as_complex(amplitude.contiguous())

    def llr(
        self,
        symbols: torch.Tensor,
        noise_var: torch.Tensor | float,
        gain: torch.Tensor | None = None,
        method: str = "exact",
    ) -> torch.Tensor:
        """Log-likelihood ratios ``log P(bit = 0 | y) / P(bit = 1 | y)`` of equally likely bits.

        Args:
            symbols: received ``y = h z + n``, complex ``(..., k)``.
            noise_var: variance of n per complex symbol; a number, or of a shape that broadcasts against ``(..., k)``.
            gain: the known h, complex, of such a shape; None: 1.
            method: ``exact``, or ``max-log`` (the nearest point of each kind only).

        Returns:
            float32 ``(..., bits_per_symbol * k)``. A symbol with gain 0 gives zeros.

        Raises:
            UsageError: for an unknown method.
        """
        if method not in DEMAPPERS:
            raise unknown_name("demapper", method, DEMAPPERS)
        noise_var = torch.as_tensor(noise_var, dtype=torch.float32, device=symbols.device)
        if gain is not None:  # matched filter: y h* / |h|^2 = z + noise of variance sigma^2 / |h|^2
            power = gain.abs().square().clamp(min=1e-30)
            symbols, noise_var = symbols * (gain.conj() / power), noise_var / power
        precision = (1 / noise_var.clamp(min=1e-30)).expand(symbols.shape).reshape(-1)
        flat = symbols.reshape(-1)
        parts = [
            self._llr(flat[start : start + CHUNK], precision[start : start + CHUNK], method)
            for start in range(0, max(len(flat), 1), CHUNK)
        ]
        return torch.cat(parts).reshape(*symbols.shape[:-1], -1)

    def _llr(self, symbols: torch.Tensor, precision: torch.Tensor, method: str) -> torch.Tensor:
        received = torch.view_as_real(symbols.to(torch.complex64))[:, : self.dimensions].T.reshape(-1)
        precision = precision.repeat(self.dimensions)
        levels = self.levels.tolist()
        metric = torch.stack([(received - level).square_() for level in levels]).mul_(-precision)  # (labels, dimensions * k)
        likelihood = (metric - metric.amax(0)).clamp_(min=FAR).exp_() if method == "exact" and len(levels) > 2 else None
        labels = range(len(levels))
        columns = []
        for shift in reversed(range(self.bits_per_symbol // self.dimensions)):
            zeros = [label for label in labels if not label >> shift & 1]
            ones = [label for label in labels if label >> shift & 1]
            nearest = _reduce(torch.maximum, metric, zeros) - _reduce(torch.maximum, metric, ones)
            if likelihood is not None:
                zero, one = _reduce(torch.add, likelihood, zeros), _reduce(torch.add, likelihood, ones)
                nearest = torch.where(torch.minimum(zero, one) > SMALLEST, zero.log() - one.log(), nearest)
            columns.append(nearest)
        # (bit of the dimension, dimension, symbol) to (symbol, bit of the dimension, dimension)
        return torch.stack(columns).unflatten(1, (self.dimensions, -1)).permute(2, 0, 1).reshape(len(symbols), -1)

    def mutual_information(self, snr_db: np.ndarray | float) -> np.ndarray:
        """Bits per symbol that bit-interleaved coded modulation can carry on AWGN at Es/N0, float64 of the shape of ``snr_db``.

        The sum over bits of ``I(bit; y)`` (Caire, Taricco, Biglieri, Bit-interleaved coded modulation, IEEE Trans. Inf.
        Theory 44(3), 1998, eq. (15)), by Gauss-Hermite quadrature.
        """
        return _mutual_information(self, np.asarray(snr_db, dtype=np.float64))


def _reduce(
    operation: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], rows: torch.Tensor, chosen: list[int]
) -> torch.Tensor:
    return functools.reduce(operation, (rows[row] for row in chosen))


@lru_cache(maxsize=16)
def _levels(bits: int, dimensions: int) -> torch.Tensor:
    """Amplitudes of a Gray-labelled PAM by label, first bit most significant; energy 1/dimensions on average."""
    amplitude = np.zeros(2**bits)
    for label in range(2**bits):
        signs = [1 - 2 * ((label >> shift) & 1) for shift in reversed(range(bits))]
        value = 1.0
        for step, sign in enumerate(reversed(signs[1:])):  # TS 38.211: (1-2b0)[4-(1-2b2)[2-(1-2b4)]]
            value = 2 ** (step + 1) - sign * value
        amplitude[label] = signs[0] * value
    amplitude /= math.sqrt((amplitude**2).mean() * dimensions)
    return torch.from_numpy(amplitude.astype(np.float32))


def _mutual_information(modulation: Modulation, snr_db: np.ndarray) -> np.ndarray:
    nodes, weights = np.polynomial.hermite.hermgauss(48)
    levels = modulation.levels.double().numpy()
    labels = np.arange(len(levels))
    result = np.zeros(snr_db.size)
    for position, snr in enumerate(snr_db.ravel()):
        precision = 10 ** (snr / 10)
        received = levels[:, None] + nodes / math.sqrt(precision)  # (sent label, node): exp(-precision * noise^2) is the weight
        metric = -precision * (received[..., None] - levels) ** 2
        metric -= metric.max(-1, keepdims=True)
        likelihood = np.exp(metric)
        total = likelihood.sum(-1)
        for shift in range(modulation.bits_per_symbol // modulation.dimensions):
            bit = (labels >> shift) & 1
            same = np.stack([likelihood[i][:, bit == bit[i]].sum(-1) for i in labels])
            loss = np.log2(total / same) @ weights / math.sqrt(math.pi)
            result[position] += modulation.dimensions * (1 - loss.mean())
    return result.reshape(snr_db.shape).clip(min=0.0)


MODULATIONS: dict[str, Modulation] = {
    name: Modulation(name, bits) for name, bits in (("bpsk", 1), ("qpsk", 2), ("16qam", 4), ("64qam", 6), ("256qam", 8))
}


def get_modulation(name: str) -> Modulation:
    """A row of `MODULATIONS`; ``4qam`` means ``qpsk``.

    Raises:
        UsageError: unknown; the hint has the near misses.
    """
    name = "qpsk" if name == "4qam" else name
    if name not in MODULATIONS:
        raise unknown_name("modulation", name, MODULATIONS)
    return MODULATIONS[name]
