"""Paths of diffusion: states between an image and what decoding starts from, and the way from one to the next.

All images are ``(B, 3, H, W)`` in [-1, 1]; ``progress`` ``(B,)`` is 0 at the image and 1 at the start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch


def noise_level(snr_db: torch.Tensor) -> torch.Tensor:
    """Time of a received signal: the share of the noise in its amplitude, sqrt(1 / (1 + SNR)), in (0, 1)."""
    return torch.rsqrt(1 + 10 ** (snr_db / 10))


def cosine_schedule(time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What is left of the image at a time in [0, 1], and the noise beside it: cos(pi t / 2) and sin(pi t / 2)."""
    return torch.cos(time * math.pi / 2), torch.sin(time * math.pi / 2)


class Path(Protocol):
    """From a start to an image."""

    def start(self, received: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """What decoding starts from, of the received image and standard Gaussian noise."""
        ...

    def state(self, picture: torch.Tensor, start: torch.Tensor, progress: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """For training: the state at ``progress`` between an image and a start."""
        ...

    def move(
        self, picture: torch.Tensor, state: torch.Tensor, now: torch.Tensor, then: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """For decoding: the state at ``then`` after that at ``now``, where ``picture`` is predicted."""
        ...


@dataclass(frozen=True)
class Bridge(Path):
    """From a received picture: a Brownian bridge, with the standard deviation ``sigma`` sqrt(p (1 - p)) at progress p.

    G.-H. Liu, A. Vahdat, D.-A. Huang, E. A. Theodorou, W. Nie, A. Anandkumar: I2SB: Image-to-image Schrödinger bridge, ICML 2023.
    Without the noise (``sigma`` 0) a state would give the image away to a network that knows the received one.
    """

    sigma: float

    def start(self, received: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return received

    def state(self, picture: torch.Tensor, start: torch.Tensor, progress: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return self.move(picture, start, torch.ones_like(progress), progress, noise)

    def move(
        self, picture: torch.Tensor, state: torch.Tensor, now: torch.Tensor, then: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        now, share = _column(now), _column(then / now)
        return (1 - share) * picture + share * state + self.sigma * (now * share * (1 - share)).sqrt() * noise


class Denoising(Path):
    """From Gaussian noise, deterministically: J. Song, C. Meng, S. Ermon: Denoising diffusion implicit models, ICLR 2021, on the
    cosine schedule."""

    def start(self, received: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return noise.expand_as(received)

    def state(self, picture: torch.Tensor, start: torch.Tensor, progress: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        left, right = cosine_schedule(_column(progress))
        return left * picture + right * start

    def move(
        self, picture: torch.Tensor, state: torch.Tensor, now: torch.Tensor, then: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        left, right = cosine_schedule(_column(now))
        return self.state(picture, (state - left * picture) / right, then, noise)


def _column(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None, None]
