"""What all channels share: a draw apart from its application, so that several systems and all SNRs meet the same one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..codec import Fading, Frame, Received
from ..errors import UsageError
from ..power import sent_mask
from ..units import noise_var_from_snr, snr_tensor

Generator = torch.Generator | np.random.Generator

CHUNK = 16
"""`torch.randn` on a CPU makes its normals 16 at a time, and remakes the last 16 of a count that 16 does not divide."""

LAW_DRAWS = 2**18
LAW_VALUES = 2**10


@dataclass(frozen=True)
class Realisation:
    """One draw of a channel for B frames of k symbols; it knows no SNR.

    Attributes:
        noise: complex64 ``(B, k)``, variance 1 per complex symbol (1/2 per real dimension).
        gain: complex64 ``(B, 1)`` (one per frame) or ``(B, k)`` (one per symbol), ``E|h|^2 = 1``; None without fading.
    """

    noise: torch.Tensor
    gain: torch.Tensor | None = None


class Channel(ABC):
    """A channel ``y = h z + sigma n``: `draw` makes h and n, `apply` makes y. Calling it does both.

    A subclass sets `name` and implements `normal_count` and `realise`; `openjscc.testing.check_channel` says whether it
    keeps the rules.

    Attributes:
        name: the canonical spec, e.g. ``rayleigh:block``; part of every content seed (`openjscc.channels.draws`).
    """

    name: str

    @abstractmethod
    def normal_count(self, k: int) -> int:
        """Standard normals that one frame of ``k`` symbols needs."""

    @abstractmethod
    def realise(self, drawn: torch.Tensor, k: int) -> Realisation:
        """B frames' draws from standard normals float32 ``(B, normal_count(k))``, on their device.

        The draw for k symbols must be the start of the draw for more: normals used in order, per symbol, do that.
        """

    @cached_property
    def fades(self) -> bool:
        """Whether there is a gain at all."""
        return self.realise(torch.zeros(1, self.normal_count(1)), 1).gain is not None

    @cached_property
    def fading(self) -> Fading | None:
        """The law of the gain, as a transmitter may know it beforehand; None for a channel without.

        `LAW_DRAWS` gains from a fixed generator, summed up in `LAW_VALUES` quantiles of ``|h|^2`` and scaled to mean 1.
        """
        drawn = torch.randn(LAW_DRAWS, self.normal_count(1), generator=torch.Generator().manual_seed(0))
        gain = self.realise(drawn, 1).gain
        if gain is None:
            return None
        power = gain[:, 0].abs().double().square().sort().values
        values = power.unflatten(0, (LAW_VALUES, -1)).mean(1)
        second = self.realise(torch.zeros(1, self.normal_count(2)), 2).gain
        return Fading(tuple((values / values.mean()).tolist()), per_symbol=second is not None and second.shape[1] == 2)

    def draw(self, batch: int, k: int, generator: Generator | Sequence[Generator]) -> Realisation:
        """Fading and unit noise for ``batch`` frames of ``k`` symbols.

        On numpy's generators, and on torch's of the CPU, the draw for k symbols is the start of the draw for k' > k from the same
        seed, so that systems of different bandwidth meet the same channel.

        Args:
            batch: number of frames B.
            k: symbols per frame.
            generator: one per frame, or one that serves the frames in turn. The draw lives on its device; numpy's is the CPU.

        Raises:
            UsageError: for a number of generators that is not B, or B or k below 1.
        """
        if batch < 1 or k < 1:
            raise UsageError(f"a draw for {batch} frames of {k} symbols", "both must be at least 1")
        generators = [generator] * batch if isinstance(generator, Generator) else list(generator)
        if len(generators) != batch:
            raise UsageError(f"{len(generators)} generators for {batch} frames", "give one generator, or one per frame")
        noise, gains = zip(*(self._draw_one(k, one) for one in generators), strict=True)
        return Realisation(torch.stack(noise), None if gains[0] is None else torch.stack(gains))

    def _draw_one(self, k: int, generator: Generator) -> tuple[torch.Tensor, torch.Tensor | None]:
        one = self.realise(normals(self.normal_count(k), generator)[None], k)
        return one.noise[0], None if one.gain is None else one.gain[0]

    def apply(self, frame: Frame, snr_db: float | Sequence[float] | torch.Tensor, realisation: Realisation) -> Received:
        """``y = h z + sigma n`` with ``sigma^2 = 10^(-SNR/10)``, whatever h and whatever the symbols' measured power.

        Args:
            frame: symbols z ``(B, k)``, mean energy 1 per image; the result is differentiable in them.
            snr_db: average SNR (Es/N0) in dB: one value, or one per image.
            realisation: of B frames and at least k symbols; of a longer one the start is used.

        Returns:
            `Received` on the frame's device: symbols ``(B, k)``, zero from ``frame.length`` on; noise_var float32
            ``(B,)``; gain ``(B, 1)``, ``(B, k)`` or None.

        Raises:
            UsageError: for an SNR that is not finite or of the wrong length, or a realisation that does not fit.
        """
        batch, k = frame.symbols.shape
        device = frame.symbols.device
        if realisation.noise.shape[0] != batch or realisation.noise.shape[1] < k:
            drawn = " x ".join(str(side) for side in realisation.noise.shape)
            raise UsageError(
                f"a draw of {drawn} symbols for a frame of {batch} x {k}", "draw for this batch and this many symbols"
            )
        noise_var = noise_var_from_snr(snr_tensor(snr_db, batch, device))
        received = noise_var.sqrt()[:, None] * realisation.noise[:, :k].to(device)
        gain = None if realisation.gain is None else realisation.gain[:, :k].to(device)
        received = received + (frame.symbols if gain is None else gain * frame.symbols)
        received = torch.where(sent_mask(frame.length, k), received, torch.zeros_like(received))
        return Received(received, noise_var, gain, frame.length, frame.genie)

    def __call__(
        self,
        frame: Frame,
        snr_db: float | Sequence[float] | torch.Tensor,
        generator: Generator | Sequence[Generator],
    ) -> Received:
        """`draw` for the frame's size, then `apply`."""
        batch, k = frame.symbols.shape
        return self.apply(frame, snr_db, self.draw(batch, k, generator))

    def __repr__(self) -> str:
        return f"<Channel {self.name}>"


def normals(count: int, generator: Generator) -> torch.Tensor:
    """Standard normals float32 ``(count,)`` of which those for a smaller count (same seed, CPU) are the start."""
    if isinstance(generator, np.random.Generator):
        return torch.from_numpy(generator.standard_normal(count, dtype=np.float32))
    rounded = math.ceil(count / CHUNK) * CHUNK
    return torch.randn(rounded, generator=generator, device=generator.device, dtype=torch.float32)[:count]


def circular(pairs: torch.Tensor) -> torch.Tensor:
    """Standard normals ``(..., 2)`` to CN(0, 1) complex64 ``(...)``: variance 1/2 per real dimension, 1 in all."""
    return torch.view_as_complex(pairs.contiguous() * math.sqrt(0.5))
