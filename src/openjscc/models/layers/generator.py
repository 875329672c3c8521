"""Parts of generators: normalisation over channels, and residual blocks with it.

F. Mentzer, G. Toderici, M. Tschannen, E. Agustsson: High-fidelity generative image compression, NeurIPS 2020 (HiFiC).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class ChannelNorm(nn.Module):
    """y_c = gamma_c (x_c - mu) / sqrt(sigma^2 + 1e-3) + beta_c, mean and variance over the channels at each position (HiFiC).

    What a position becomes depends on that position alone: not on the size of the image, and not on the batch.

    Args:
        channels: C of the ``(B, C, H, W)`` input.
    """

    EPSILON = 1e-3

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x.movedim(1, -1), self.gamma.shape, self.gamma, self.beta, self.EPSILON).movedim(-1, 1)

    def extra_repr(self) -> str:
        return str(self.gamma.numel())


class GeneratorBlock(nn.Module):
    """x + ChannelNorm(conv(ReLU(ChannelNorm(conv(x))))), convolutions of 3x3 (HiFiC). At the start it changes nothing: the last
    gamma is 0.

    Args:
        channels: C of input and output.
        hidden: channels between the convolutions.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        last = ChannelNorm(channels)
        nn.init.zeros_(last.gamma)
        self.body = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1),
            ChannelNorm(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 3, padding=1),
            last,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)
