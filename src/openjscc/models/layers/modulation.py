"""SNR modulation: channels are scaled and shifted by what the image and the channel are like.

M. Yang, H.-S. Kim: Deep joint source-channel coding for wireless image transmission with adaptive rate control, ICASSP 2022.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn


class Modulation(nn.Module):
    """x * sigmoid(MLP(context)) + MLP'(context), context = [global average of x, conditions]; two layers each, ReLU between.

    Args:
        channels: C.
        conditions: number of condition values (1 for the SNR alone).
        hidden: width between the two layers.

    Shapes: x ``(B, C, H, W)``, conditions ``(B, conditions)`` -> ``(B, C, H, W)``.
    """

    def __init__(self, channels: int, conditions: int, hidden: int) -> None:
        super().__init__()
        self.multiplier = perceptron(channels + conditions, hidden, channels)
        self.addend = perceptron(channels + conditions, hidden, channels)

    def affine(self, x: torch.Tensor, conditions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and shift of every channel, ``(B, C, 1, 1)`` each."""
        context = pooled(x, conditions)
        scale, shift = torch.sigmoid(self.multiplier(context)), self.addend(context)
        return scale[:, :, None, None].to(x.dtype), shift[:, :, None, None].to(x.dtype)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        scale, shift = self.affine(x, conditions)
        return x * scale + shift


def pooled(x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
    """[global average of every channel, conditions], float32 ``(B, C + conditions)``."""
    average = x.mean(dim=(2, 3), dtype=torch.float32)
    return torch.cat([average, conditions.to(average.dtype)], dim=1)


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers between these widths, ReLU between two."""
    layers: list[nn.Module] = []
    for narrow, wide in itertools.pairwise(widths):
        layers += [nn.Linear(narrow, wide), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
