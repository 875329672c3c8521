"""``jpeg-capacity``, ``webp-capacity``, ``bpg-capacity``: the bound that no link with this source codec can pass."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

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
    """A source codec over an ideal code: a bound, not a system (`openjscc.codec.is_bound`).

    The best file of at most ``k log2(1 + SNR)`` bits (k complex payload symbols) arrives if the channel's capacity is no less
    than its bits. The symbols are dummies of unit power; the file goes past the channel (`Frame.genie`).

    Under fading the bound has two names (Tse and Viswanath, Fundamentals of Wireless Communication, sections 5.4.1 to 5.4.5):

    * outage capacity (``fading=outage``, the default): the transmitter knows the law of the gain, not the gain. With one gain
      per frame it picks the bits of highest expected PSNR, or those of a stated outage probability (``outage=0.05``), and
      the frame is lost if ``k log2(1 + |h|^2 SNR)`` falls below. With one gain per symbol it takes the ergodic capacity
      less a few standard deviations of the sum over the frame's symbols, and the frame is lost if that sum falls below.
    * ergodic capacity (``fading=ergodic``): ``k E[log2(1 + |h|^2 SNR)]`` bits, as if a frame met all gains.
    """

    bound = True

    def __init__(self, name: str, source: SourceCodec, *, ergodic: bool = False, outage: float | None = None) -> None:
        """
        Args:
            name: the spec that makes this system again.
            source: the source codec.
            ergodic: under fading the ergodic capacity counts, else what the frame's own gain allows.
            outage: probability of a frame's loss that fixes the bits under block fading; None: the best expected PSNR.
        """
        super().__init__(name, source)
        self.ergodic = ergodic
        self.outage = outage

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
        if fading is None:
            return [Option(0, int(uses * math.log2(1 + snr) / 8), 1.0)]
        if self.ergodic:
            return [Option(0, int(uses * ergodic_capacity(snr, fading) / 8), 1.0)]
        if fading.per_symbol:
            bits = np.log2(1 + snr * np.array(fading.power))
            budgets = [uses * bits.mean() - margin * math.sqrt(uses) * bits.std() for margin in MARGINS]
            return [
                Option(number, int(max(budget, 0) / 8), NormalDist().cdf(margin))
                for number, (budget, margin) in enumerate(zip(budgets, MARGINS, strict=True))
            ]
        outages = OUTAGES if self.outage is None else (self.outage,)
        return [
            Option(number, int(uses * outage_capacity(snr, fading, outage) / 8), 1 - outage)
            for number, outage in enumerate(outages)
        ]

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

    @staticmethod
    def _capacity(received: Received, row: int, head: int, uses: int, ergodic: Fading | None) -> float:
        """Bits that the payload of one frame can carry."""
        noise_var = received.noise_var[row].double().cpu()
        if ergodic is not None:
            return uses * ergodic_capacity(float(1 / noise_var.mean()), ergodic)
        power = torch.ones(1, dtype=torch.float64)
        if received.gain is not None:
            power = received.gain[row].abs().double().square().cpu()
        snr = power / noise_var
        if snr.numel() > 1:
            return float(torch.log2(1 + snr[head : head + uses]).sum())
        return uses * float(torch.log2(1 + snr))


def ergodic_capacity(snr: float, fading: Fading) -> float:
    """``E[log2(1 + |h|^2 SNR)]`` in bits per symbol; SNR as a ratio."""
    return float(np.log2(1 + snr * np.array(fading.power)).mean())


def outage_capacity(snr: float, fading: Fading, outage: float) -> float:
    """Bits per symbol that a frame with one gain fails to carry with probability ``outage``; SNR as a ratio."""
    return math.log2(1 + snr * float(np.quantile(np.array(fading.power), outage, method="hazen")))
