"""Flat fading: one complex gain, with its phase, per frame (block) or per symbol (fast).

The SNR is the average one: the noise does not depend on the gain, and ``E|h|^2 = 1``.
See D. Tse and P. Viswanath, Fundamentals of Wireless Communication, Cambridge 2005, section 2.4.2.
"""

from __future__ import annotations

import math

import torch

from ..errors import UsageError
from ._base import CHUNK, Channel, Realisation, circular


class Rician(Channel):
    """A direct path beside scattered ones: ``h = sqrt(K/(K+1)) e^{j phi} + sqrt(1/(K+1)) CN(0, 1)``.

    phi is uniform and drawn once per frame, in fast fading too: there the scattered part changes with every symbol, and
    the direct path does not.

    Order of the normals, per frame: 16 for the frame [scattered re, im; two that give phi; 12 unused], then per symbol
    [noise re, im] (block) or [scattered re, im, noise re, im] (fast).
    """

    def __init__(self, k_factor: float, fast: bool = False) -> None:
        """
        Args:
            k_factor: K, power of the direct path over that of the scattered ones; a ratio (no dB), 0 or more.
            fast: a gain per symbol; else one per frame.

        Raises:
            UsageError: for a K that is negative or not finite.
        """
        if not 0 <= k_factor < math.inf:
            raise UsageError(f"K-factor {k_factor}", "a power ratio (no dB) of 0 or more, e.g. 4")
        self.k_factor = float(k_factor)
        self.fast = fast
        self.name = f"rician:{_shortest(self.k_factor)}" + (":fast" if fast else "")

    @property
    def _width(self) -> int:
        return 4 if self.fast else 2

    def normal_count(self, k: int) -> int:
        return CHUNK + self._width * k

    def realise(self, drawn: torch.Tensor, k: int) -> Realisation:
        head, per_symbol = drawn[:, :CHUNK], drawn[:, CHUNK:].unflatten(1, (k, self._width))
        scattered = circular(per_symbol[..., :2] if self.fast else head[:, None, :2])
        phase = torch.atan2(head[:, 3], head[:, 2])[:, None]
        direct = torch.polar(torch.ones_like(phase), phase)
        gain = math.sqrt(self.k_factor / (self.k_factor + 1)) * direct + math.sqrt(1 / (self.k_factor + 1)) * scattered
        return Realisation(circular(per_symbol[..., -2:]), gain)


class Rayleigh(Rician):
    """No direct path (K = 0): ``h ~ CN(0, 1)``, so that ``|h|`` has Rayleigh's density ``2 r exp(-r^2)``."""

    def __init__(self, fast: bool = False) -> None:
        super().__init__(0.0, fast)
        self.name = "rayleigh:fast" if fast else "rayleigh:block"


def _shortest(number: float) -> str:
    return str(int(number)) if number.is_integer() and number < 1e15 else repr(number)
