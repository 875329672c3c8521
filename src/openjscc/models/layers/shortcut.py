"""A linear block transform beside a network: what uncoded linear transmission achieves is where training starts.

Blocks of the picture are transformed by a DCT over opponent colours; the coefficients of highest variance are sent, each
scaled by the fourth root of 1/variance. For Gaussian sources of these variances over AWGN that is the best linear scaling
at high SNR (K.-H. Lee, D. P. Petersen: Optimal linear coding for vector channels, IEEE Trans. Commun. 24(12), 1976). All of
it is learned further.
"""

from __future__ import annotations

import math

import torch
from torch import nn

COLOUR_VARIANCE = (1.0, 0.06, 0.02)
"""Of brightness, red against blue, and green against both, relative; from photographs, to one digit."""


def dct_basis(block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthonormal basis of ``block`` x ``block`` RGB blocks and a model of its variances, highest first.

    Returns:
        basis ``(3*block*block, 3, block, block)`` and variances ``(3*block*block,)``: a colour factor times
        ``(0.1 + u^2 + v^2) ** -1.1`` at frequencies u, v.
    """
    index = torch.arange(block, dtype=torch.float64)
    waves = torch.cos(math.pi * (2 * index + 1) * index[:, None] / (2 * block)) * math.sqrt(2 / block)
    waves[0] /= math.sqrt(2)
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]], dtype=torch.float64)
    colours /= colours.norm(dim=1, keepdim=True)
    basis = torch.einsum("kc,uy,vx->kuvcyx", colours, waves, waves).reshape(-1, 3, block, block)
    decay = (0.1 + index[:, None] ** 2 + index**2) ** -1.1
    variance = (torch.tensor(COLOUR_VARIANCE, dtype=torch.float64)[:, None, None] * decay).flatten()
    order = variance.argsort(descending=True, stable=True)
    return basis[order], variance[order]


def block_analysis(channels: int, block: int) -> nn.Conv2d:
    """RGB to the ``channels`` leading coefficients of every block; most important first, so that prefixes are useful."""
    basis, variance = dct_basis(block)
    layer = nn.Conv2d(3, channels, block, stride=block, bias=False)
    with torch.no_grad():
        layer.weight.copy_(basis[:channels] * variance[:channels, None, None, None] ** -0.25)
    return layer


def block_synthesis(channels: int, block: int) -> nn.ConvTranspose2d:
    """The way back from `block_analysis`."""
    basis, variance = dct_basis(block)
    layer = nn.ConvTranspose2d(channels, 3, block, stride=block, bias=False)
    with torch.no_grad():
        layer.weight.copy_(basis[:channels] * variance[:channels, None, None, None] ** 0.25)
    return layer
