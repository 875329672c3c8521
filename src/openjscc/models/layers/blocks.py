"""Convolution blocks. Sizes: a `Downsample` of an even-sized input halves it exactly, an `Upsample` doubles it."""

from __future__ import annotations

import itertools

import torch
from torch import nn


class Downsample(nn.Conv2d):
    """Convolution with zero padding to ceil(size / stride)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=bias)


class Upsample(nn.Sequential):
    """The way back from a `Downsample` of the same stride.

    ``subpixel=False``: transposed convolution, as the 2019 to 2022 papers have it. ``subpixel=True``: convolution at the
    low resolution and a pixel shuffle, which costs less on a CPU (Shi et al., CVPR 2016).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, *, subpixel: bool = False, bias: bool = True
    ) -> None:
        padding = kernel // 2
        if stride == 1:
            layers = [nn.Conv2d(in_channels, out_channels, kernel, padding=padding, bias=bias)]
        elif subpixel:
            convolution = nn.Conv2d(in_channels, out_channels * stride**2, kernel, padding=padding, bias=bias)
            layers = [convolution, nn.PixelShuffle(stride)]
        else:
            beyond = stride - kernel + 2 * padding
            layers = [nn.ConvTranspose2d(in_channels, out_channels, kernel, stride, padding, beyond, bias=bias)]
        super().__init__(*layers)


class Residual(nn.Module):
    """x + body(x), with the layers of the body one after another."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Bottleneck(Residual):
    """Residual block 1x1 -> 3x3 -> 1x1 at half the width (He et al., CVPR 2016), without batch statistics."""

    def __init__(self, channels: int) -> None:
        half = channels // 2
        super().__init__(
            nn.Conv2d(channels, half, 1),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(half, channels, 1),
        )


def bottlenecks(channels: int, count: int) -> list[Bottleneck]:
    """As many `Bottleneck` blocks."""
    return [Bottleneck(channels) for _ in range(count)]


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers between these widths, ReLU between two."""
    layers: list[nn.Module] = []
    for narrow, wide in itertools.pairwise(widths):
        layers += [nn.Linear(narrow, wide), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
