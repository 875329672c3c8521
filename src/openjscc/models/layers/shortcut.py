"""A linear block transform beside a network: what uncoded linear transmission achieves is where training starts.

Blocks of the image are transformed by a DCT over opponent colours; the coefficients of highest variance are sent, each
scaled by the fourth root of 1/variance. For Gaussian sources of these variances over AWGN that is the best linear scaling
at high SNR (K.-H. Lee, D. P. Petersen: Optimal linear coding for vector channels, IEEE Trans. Commun. 24(12), 1976). All of
it is learned further.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .._base import CodecConfig, LearnedCodec
from .attention import ChannelAttention

Layer = TypeVar("Layer", nn.Conv2d, nn.ConvTranspose2d)

COLOUR_VARIANCE = (1.0, 0.06, 0.02)
"""Of brightness, red against blue, and green against both, relative; from photographs, to one digit."""


def dct_basis(block: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal basis of ``block`` x ``block`` RGB blocks and a model of its variances, the ``count`` highest first.

    Returns:
        basis ``(count, 3, block, block)`` and variances ``(count,)``: a colour factor times
        ``(0.1 + u^2 + v^2) ** -1.1`` at frequencies u, v.
    """
    index = np.arange(block)
    waves = np.cos(math.pi * (2 * index + 1) * index[:, None] / (2 * block)) * math.sqrt(2 / block)
    waves[0] /= math.sqrt(2)
    colours = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    colours /= np.linalg.norm(colours, axis=1, keepdims=True)
    decay = (0.1 + index[:, None] ** 2 + index**2) ** -1.1
    variance = np.array(COLOUR_VARIANCE)[:, None, None] * decay
    order = np.argsort(-variance, axis=None, kind="stable")[:count]
    colour, u, v = np.unravel_index(order, variance.shape)
    return np.einsum("nc,ny,nx->ncyx", colours[colour], waves[u], waves[v]), variance.flatten()[order]


def lapped_filter(block: int) -> torch.Tensor:
    """Orthogonal matrix ``(block, block)`` that, applied across every boundary of two blocks before their DCT, makes a lapped
    orthogonal transform of it (T. D. Tran, J. Liang, C. Tu: Lapped transform via time-domain pre- and post-filtering, IEEE
    Trans. Signal Process. 51(6), 2003, eq. (12) with the orthogonal V of Malvar's fast LOT)."""
    half = block // 2
    index = np.arange(half)
    dct2 = np.cos(math.pi * (2 * index + 1) * index[:, None] / (2 * half)) * math.sqrt(2 / half)
    dct2[0] /= math.sqrt(2)
    dct4 = np.cos(math.pi * (2 * index + 1) * (2 * index[:, None] + 1) / (4 * half)) * math.sqrt(2 / half)
    eye, zero = np.eye(half), np.zeros((half, half))
    flip = eye[::-1]
    butterfly = np.block([[eye, flip], [flip, -eye]]) / math.sqrt(2)
    return torch.from_numpy(butterfly @ np.block([[eye, zero], [zero, flip @ dct2.T @ dct4 @ flip]]) @ butterfly)


def filter_boundaries(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Apply ``matrix`` ``(N, N)`` to the N samples around every boundary of N-blocks of ``(B, C, H, W)``, along both sides."""
    block = len(matrix)
    for dim in (2, 3):
        x = x.movedim(dim, -1)
        if x.shape[-1] > block:
            first, inner, last = x.split([block // 2, x.shape[-1] - block, block // 2], dim=-1)
            x = torch.cat([first, (inner.unflatten(-1, (-1, block)) @ matrix.T).flatten(-2), last], dim=-1)
        x = x.movedim(-1, dim)
    return x


class LappedAnalysis(nn.Conv2d):
    """A block transform after the filter that makes it lapped; at the image's border it is the block transform."""

    filter: torch.Tensor

    def __init__(self, channels: int, block: int) -> None:
        super().__init__(3, channels, block, stride=block, bias=False)
        self.register_buffer("filter", lapped_filter(block).float(), persistent=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(filter_boundaries(input, self.filter))


class LappedSynthesis(nn.ConvTranspose2d):
    """The way back from `LappedAnalysis`."""

    filter: torch.Tensor

    def __init__(self, channels: int, block: int) -> None:
        super().__init__(channels, 3, block, stride=block, bias=False)
        self.register_buffer("filter", lapped_filter(block).float(), persistent=False)

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        return filter_boundaries(super().forward(input, output_size).float(), self.filter.T)


class LatentGain(nn.Module):
    """Scales every latent channel by what the transmitter knows of the channel: the power that a coefficient deserves depends
    on the SNR and the ratio. Starts as the identity.

    Shapes: x ``(B, C, H, W)``, conditions ``(B, conditions)`` -> ``(B, C, H, W)``.
    """

    def __init__(self, channels: int, conditions: int, hidden: int = 32) -> None:
        super().__init__()
        self.reduce = nn.Linear(conditions, hidden)
        self.expand = nn.Linear(hidden, channels)
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        gain = torch.exp(self.expand(F.relu(self.reduce(conditions))).float())
        return x * gain[:, :, None, None]


def block_analysis(channels: int, block: int, lapped: bool = False) -> nn.Conv2d:
    """RGB to the ``channels`` leading coefficients of every block; most important first, so that prefixes are useful."""
    layer = LappedAnalysis(channels, block) if lapped else nn.Conv2d(3, channels, block, stride=block, bias=False)
    return _scaled_basis(layer, channels, block, -0.25)


def block_synthesis(channels: int, block: int, lapped: bool = False) -> nn.ConvTranspose2d:
    """The way back from `block_analysis`."""
    if lapped:
        return _scaled_basis(LappedSynthesis(channels, block), channels, block, 0.25)
    return _scaled_basis(nn.ConvTranspose2d(channels, 3, block, stride=block, bias=False), channels, block, 0.25)


def _scaled_basis(layer: Layer, channels: int, block: int, power: float) -> Layer:
    """A layer whose filters are the basis, each times a power of its variance."""
    basis, variance = dct_basis(block, channels)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(basis * variance[:, None, None, None] ** power))
    return layer


class ShortcutCodec(LearnedCodec):
    """A codec whose networks may have a linear block transform beside them (`add_shortcut`)."""

    block_analysis: nn.Module | None
    block_synthesis: nn.Module | None
    block_attention: nn.Module | None
    latent_gain: nn.Module | None

    def __init__(self, config: CodecConfig) -> None:
        super().__init__(config)
        self.block_analysis = self.block_synthesis = self.block_attention = self.latent_gain = None

    def add_shortcut(self, conditions: int, *last: nn.Parameter, hidden: int = 0, lapped: bool = False) -> None:
        """Makes the transform; its blocks are as large as `stride`. At the start it is all that the codec does.

        Args:
            conditions: number of condition values that weigh its coefficients; 0: they are not weighed.
            last: parameters of the networks' last layers, which start at zero.
            hidden: width inside its attention module; 0: half the latent's channels, at least 8.
            lapped: blocks overlap (`LappedAnalysis`), and there is a `latent_gain` for the transmitter.
        """
        latent = self.config.rates[-1]
        self.block_analysis = block_analysis(latent, self.stride, lapped)
        self.block_synthesis = block_synthesis(latent, self.stride, lapped)
        if conditions:
            self.latent_gain = LatentGain(latent, conditions) if lapped else None
            self.block_attention = ChannelAttention(latent, conditions, hidden or max(latent // 2, 8), start=0.95)
        for parameter in last:
            nn.init.zeros_(parameter)

    def with_coefficients(self, latent: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The latent ``(B, C, H/stride, W/stride)`` plus the transform's coefficients of ``x``, where there is a transform."""
        return latent if self.block_analysis is None else latent + self.block_analysis(x)

    def linear_image(self, latent: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """What the transform alone makes of a received latent, float32 ``(B, 3, H, W)``; zero where there is no transform."""
        if self.block_synthesis is None:
            batch, _, height, width = latent.shape
            return latent.new_zeros(batch, 3, self.stride * height, self.stride * width)
        blocks = latent if self.block_attention is None else self.block_attention(latent, conditions)
        return self.block_synthesis(blocks).float()
