"""Attention features (AF) of ADJSCC: channels are re-weighted by what the image and the channel are like.

J. Xu, B. Ai, W. Chen, A. Yang, P. Sun, M. Rodrigues: Wireless image transmission using deep source channel coding with
attention modules, IEEE Trans. Circuits Syst. Video Technol. 32(4), 2022, section III-B.
"""

from __future__ import annotations

import math

import torch
from torch import nn


class ChannelAttention(nn.Module):
    """x * sigmoid(FC(ReLU(FC([global average of x, conditions])))).

    Args:
        channels: C.
        conditions: number of condition values (1 for the SNR alone).
        hidden: width between the two linear layers; 0: a sixteenth of the channels, at least 8.
        start: the weight that every channel starts with; None: about 1/2, as the layers happen to give it.

    Shapes: x ``(B, C, H, W)``, conditions ``(B, conditions)`` -> ``(B, C, H, W)``.
    """

    def __init__(self, channels: int, conditions: int, hidden: int = 0, start: float | None = None) -> None:
        super().__init__()
        hidden = hidden or max(channels // 16, 8)
        self.reduce = nn.Linear(channels + conditions, hidden)
        self.expand = nn.Linear(hidden, channels)
        if start is not None:
            nn.init.zeros_(self.expand.weight)
            nn.init.constant_(self.expand.bias, math.log(start / (1 - start)))

    def scale(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """The weight of every channel, ``(B, C, 1, 1)``."""
        scale = torch.sigmoid(self.expand(torch.relu(self.reduce(pooled(x, conditions)))))
        return scale[:, :, None, None].to(x.dtype)

    def scale_and_shift(self, x: torch.Tensor, conditions: torch.Tensor) -> tuple[torch.Tensor, None]:
        """What `forward` multiplies by, and adds (nothing)."""
        return self.scale(x, conditions), None

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        return x * self.scale(x, conditions)


def pooled(x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
    """[global average of every channel, conditions], float32 ``(B, C + conditions)``."""
    average = x.mean(dim=(2, 3), dtype=torch.float32)
    return torch.cat([average, conditions.to(average.dtype)], dim=1)
