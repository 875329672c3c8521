"""``jpeg-capacity``, ``webp-capacity``, ``bpg-capacity``: the bound that no link with this source codec can pass."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import torch

from ..codec import Conditions, Fading, Received, Side
from ..errors import UsageError
from ._base import SeparateCodec
from .adaptation import Option, best_option
from .source import SourceCodec

OUTAGES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Outage probabilities among which a frame with one gain is fitted where none is asked for."""


MARGINS = (0.0, 1.0, 2.0, 3.0)
"""Standard deviations below the mean at which a frame with one gain per symbol is filled."""


class _Genie(NamedTuple):
    data: bytes | None
    ergodic: Fading | None


class CapacityCodec(SeparateCodec):
    """A source codec over an ideal code: a bound, not a system (`openjscc.codec.CodecInfo.bound`).

    The best file of at most ``k log2(1 + SNR)`` bits (k complex payload symbols) arrives if the channel's capacity is no less
    than its bits. The symbols are dummies of unit power; the file goes past the channel (`Frame.genie`).

    Under fading the bound has two names (Tse and Viswanath, Fundamentals of Wireless Communication, sections 5.4.1 to 5.4.5):

    * outage capacity (``fading=outage``, the default): the transmitter knows the law of the gain, not the gain. With one gain
      per frame it picks the bits of highest expected PSNR, or those of a stated outage probability (``outage=0.05``), and
      the frame is lost if ``k log2(1 + |h|^2 SNR)`` falls below. With one gain per symbol it takes the ergodic capacity
      less a few standard deviations of the sum over the frame's symbols, and the frame is lost if that sum falls below.
    A code of the frame's own length cannot reach capacity (``finite=0.01``: loses one frame of a hundred). The normal
    approximation of Y. Polyanskiy, H. V. Poor and S. Verdu (Channel coding rate in the finite blocklength regime, IEEE Trans.
    Inf. Theory 56(5), 2010) has ``k C - sqrt(k V) Q^-1(loss) + log2(k) / 2`` bits with the dispersion
    ``V = (1 - (1 + SNR)^-2) log2(e)^2`` of a complex symbol. The frame is lost if its bits exceed the information
    density that its own noise leaves, whose mean is k C and whose
    variance is k V.

    * ergodic capacity (``fading=ergodic``): ``k E[log2(1 + |h|^2 SNR)]`` bits, as if a frame met all gains.
    """

    bound = True

    def __init__(
        self,
        name: str,
        source: SourceCodec,
        *,
        ergodic: bool = False,
        outage: float | None = None,
        finite: float | None = None,
    ) -> None:
        """
        Args:
            name: the spec that makes this system again.
            source: the source codec.
            ergodic: under fading the ergodic capacity counts, else what the frame's own gain allows.
            outage: probability of a frame's loss that fixes the bits under block fading; None: the best expected PSNR.
            finite: probability of a frame's loss by its noise, for codes of the frame's length; None: codes without end.
        """
        super().__init__(name, source)
        self.ergodic = ergodic
        self.outage = outage
        self.finite = finite

    def _send(
        self, pictures: list[np.ndarray], payload: list[int], snr_db: list[float] | None, conditions: Conditions
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[object, ...]]:
        files: list[bytes | None] = []
        for number, (picture, uses) in enumerate(zip(pictures, payload, strict=True)):
            fitted = None
            if snr_db is not None:
                options = self._options(uses, 10 ** (snr_db[number] / 10), conditions.fading)
                budget = best_option(options, self.control, [picture]).budget
                fitted = self.control.fit(picture, budget) if budget > 0 else None
            files.append(None if fitted is None else fitted.data)
        symbols = torch.ones(len(pictures), max(payload), dtype=torch.complex64)
        ergodic = conditions.fading if self.ergodic else None
        return symbols, torch.zeros(len(pictures), dtype=torch.int64), tuple(_Genie(data, ergodic) for data in files)

    def _options(self, uses: int, snr: float, fading: Fading | None) -> list[Option]:
        """Budgets in bytes with their probabilities, for ``uses`` symbols at an average SNR (a ratio)."""
        if self.ergodic and fading is not None:
            return [Option(0, int(uses * ergodic_capacity(snr, fading) / 8), 1.0)]
        if fading is None:
            return [Option(0, self._bytes(uses, math.log2(1 + snr), dispersion(snr)), 1 - (self.finite or 0.0))]
        if fading.per_symbol:
            power = snr * np.array(fading.power)
            bits = np.log2(1 + power)
            spread = math.sqrt(uses * (bits.var() + (float(dispersion(power).mean()) if self.finite else 0.0)))
            return [
                Option(number, int(max(uses * bits.mean() - margin * spread, 0) / 8), NormalDist().cdf(margin))
                for number, margin in enumerate(MARGINS)
            ]
        outages = OUTAGES if self.outage is None else (self.outage,)
        options = []
        for number, outage in enumerate(outages):
            capacity = outage_capacity(snr, fading, outage)
            options.append(Option(number, self._bytes(uses, capacity, dispersion(2**capacity - 1)), 1 - outage))
        return options

    def _bytes(self, uses: int, capacity: float, dispersion: float) -> int:
        """Of a file in a frame of so many symbols, by capacity and dispersion of one."""
        bits = uses * capacity
        if self.finite is not None:
            bits += NormalDist().inv_cdf(self.finite) * math.sqrt(uses * dispersion) + math.log2(uses) / 2
        return int(max(bits, 0) / 8)

    def _read(self, received: Received) -> tuple[Side | None, torch.Tensor]:
        """As a bound, it has its header beside the channel too."""
        if not isinstance(received.genie, tuple):
            raise UsageError(f"a received frame without what {self.name} hands over", "a bound cannot be sent; it is computed")
        return received.genie[0], torch.ones(len(received.symbols), dtype=torch.bool)

    def _receive(self, received: Received, side: Side, heard: list[bool]) -> list[bytes | None]:
        assert isinstance(received.genie, tuple)
        assert side.head is not None
        files: list[bytes | None] = []
        for row, genie in enumerate(received.genie[1]):
            assert isinstance(genie, _Genie)
            head = int(side.head[row])
            uses = int(received.length[row]) - head
            bits = 0.0 if genie.data is None else 8.0 * len(genie.data)
            files.append(genie.data if bits <= self._capacity(received, row, head, uses, genie.ergodic) * (1 + 1e-6) else None)
        return files

    def _capacity(self, received: Received, row: int, head: int, uses: int, ergodic: Fading | None) -> float:
        """Bits that the payload of one frame can carry."""
        noise_var = received.noise_var[row].double().cpu()
        if ergodic is not None:
            return uses * ergodic_capacity(float(1 / noise_var.mean()), ergodic)
        sent = slice(head, head + uses)
        gain = torch.ones(1, 1) if received.gain is None else received.gain.cpu()
        gain = gain[row if len(gain) > 1 else 0]
        gain = (gain[sent] if len(gain) > 1 else gain.expand(uses)).to(torch.complex128)
        noise_var = noise_var[sent] if noise_var.ndim else noise_var
        snr = gain.abs().square() / noise_var
        capacity = float(torch.log2(1 + snr).sum())
        if self.finite is None:
            return capacity
        symbols = received.symbols[row, sent].cpu()
        noise = symbols - gain  # every symbol that was sent is 1
        density = symbols.abs().square() / (noise_var * (1 + snr)) - noise.abs().square() / noise_var
        return capacity + float(density.sum()) / math.log(2) + math.log2(uses) / 2


def ergodic_capacity(snr: float, fading: Fading) -> float:
    """``E[log2(1 + |h|^2 SNR)]`` in bits per symbol; SNR as a ratio."""
    return float(np.log2(1 + snr * np.array(fading.power)).mean())


def dispersion(snr: Any) -> Any:
    """Dispersion of a complex symbol over AWGN in bits squared, for words of equal power; SNR as a ratio or an array."""
    return (1 - (1 + snr) ** -2.0) * math.log2(math.e) ** 2


def outage_capacity(snr: float, fading: Fading, outage: float) -> float:
    """Bits per symbol that a frame with one gain fails to carry with probability ``outage``; SNR as a ratio."""
    return math.log2(1 + snr * float(np.quantile(np.array(fading.power), outage, method="hazen")))
