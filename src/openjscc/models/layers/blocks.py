"""Convolution blocks. Sizes: a `Downsample` of an even-sized input halves it exactly, an `Upsample` doubles it."""

from __future__ import annotations

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

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, subpixel: bool, bias: bool = True) -> None:
        if stride == 1:
            layers = [nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)]
        elif subpixel:
            conv = nn.Conv2d(in_channels, out_channels * stride**2, kernel, padding=kernel // 2, bias=bias)
            layers = [conv, nn.PixelShuffle(stride)]
        else:
            padding = kernel // 2
            layers = [
                nn.ConvTranspose2d(
                    in_channels,
                    out_channels,
                    kernel,
                    stride=stride,
                    padding=padding,
                    output_padding=stride - kernel + 2 * padding,
                    bias=bias,
                )
            ]
        super().__init__(*layers)


class Bottleneck(nn.Module):
    """Residual block 1x1 -> 3x3 -> 1x1 at half the width (He et al., CVPR 2016), without batch statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(
            nn.Conv2d(channels, half, 1),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(half, channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class ResidualBlock(nn.Module):
    """Residual block of two 3x3 convolutions with batch normalisation (He et al., CVPR 2016), nothing after the sum.

    In training each process normalises by its own share of the batch (docs/models/arjscc.md).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)
