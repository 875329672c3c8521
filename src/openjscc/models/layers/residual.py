"""Residual networks with batch normalisation, some of whose stages see far by atrous convolutions instead of strides.

K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition, CVPR 2016. L.-C. Chen, G. Papandreou, I. Kokkinos,
K. Murphy, A. L. Yuille: DeepLab, IEEE Trans. Pattern Anal. Mach. Intell. 40(4), 2018, section 3.1.

In training each process normalises by its own share of the batch.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def normalised_convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, atrous: int = 1) -> nn.Sequential:
    """Convolution with zero padding to ceil(size / stride), then batch normalisation in place of a bias.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: its side, odd.
        stride: of the output's positions.
        atrous: distance between the kernel's taps, in input positions; 1: a plain convolution.
    """
    padding = atrous * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, dilation=atrous, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class AtrousBlock(nn.Module):
    """Residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1 with a quarter of the channels inside.

    ReLU between them and after the sum. Where sides or widths change, a 1x1 convolution takes the input along; the stride is the
    first convolution's.

    Args:
        inputs: channels.
        outputs: channels.
        stride: of the output's positions.
        atrous: rate of the 3x3 convolutions.
        bottleneck: the second form.

    Shapes: ``(B, inputs, H, W)`` -> ``(B, outputs, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, atrous: int, bottleneck: bool) -> None:
        super().__init__()
        inside = outputs // 4 if bottleneck else outputs
        if bottleneck:
            layers = [
                normalised_convolution(inputs, inside, 1, stride),
                normalised_convolution(inside, inside, 3, 1, atrous),
                normalised_convolution(inside, outputs, 1),
            ]
        else:
            layers = [
                normalised_convolution(inputs, outputs, 3, stride, atrous),
                normalised_convolution(outputs, outputs, 3, 1, atrous),
            ]
        self.layers = nn.ModuleList(layers)
        changes = stride != 1 or inputs != outputs
        self.skip = normalised_convolution(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number, layer in enumerate(self.layers):
            y = layer(F.relu(y) if number else y)
        return F.relu(y + self.skip(x))


def residual_stage(inputs: int, outputs: int, depth: int, stride: int, atrous: int, bottleneck: bool) -> nn.Sequential:
    """``depth`` blocks, the first one with the stride."""
    return nn.Sequential(
        *(AtrousBlock(outputs if i else inputs, outputs, 1 if i else stride, atrous, bottleneck) for i in range(depth))
    )


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling (ASPP): 3x3 convolutions of several rates on the same features, summed.

    DeepLab, section 3.2; each branch gives class scores at once, as in DeepLab's ResNet-101 form.

    Shapes: ``(B, inputs, H, W)`` -> ``(B, outputs, H, W)``.
    """

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate) for rate in rates)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([branch(x) for branch in self.branches]).sum(0)
