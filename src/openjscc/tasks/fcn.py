"""``fcn``: a fully convolutional network that says of every pixel what it is part of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..classes import VOC
from ..errors import UsageError
from ._base import TaskNetwork, normalised
from .resnet import IMAGENET_MEAN, IMAGENET_STD

STEM = 4
"""Stride of the first convolution and the maximum after it, together."""


@dataclass(frozen=True)
class FCNConfig:
    """How wide and deep it is, and what it tells apart.

    Attributes:
        stem: channels of the first convolution (7x7, stride 2), which a 3x3 maximum with stride 2 follows.
        widths: channels of the four residual stages, at 1/4, 1/8, 1/16 and 1/32 of the image's size.
        depths: blocks of every stage.
        dropout: before the scores of the last stage, in training.
        classes: names, by number.
        mean: of the images, per channel.
        std: of the images, per channel.
    """

    stem: int = 24
    widths: tuple[int, ...] = (64, 80, 104, 120)
    depths: tuple[int, ...] = (4, 2, 2, 1)
    dropout: float = 0.1
    classes: tuple[str, ...] = VOC
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if len(self.widths) != 4 or len(self.depths) != 4:
            raise UsageError(f"widths {self.widths}, depths {self.depths}", "give four of each")


CONFIGS = {"voc": FCNConfig()}


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class _Block(nn.Module):
    """Two 3x3 convolutions and the input (through a 1x1 one where sides or widths differ), ReLU after the first and the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.second = _convolution(outputs, outputs, 3)
        self.skip = _convolution(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.skip(x))


class FCN(TaskNetwork):
    """FCN-8s on a residual network: scores at 1/32, 1/16 and 1/8 of the image's size, each added to the coarser ones' doubled.

    J. Long, E. Shelhamer, T. Darrell: Fully convolutional networks for semantic segmentation, CVPR 2015, on the residual network
    of K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition, CVPR 2016, slimmed.

    ::

        x --[conv 7x7, /2]-[max, /2]-[res]-[res, /2]--+-------[res, /2]--+--------[res, /2]-[conv 1x1]--+
                                                  [conv 1x1]         [conv 1x1]                         |
                            scores --[up 8]-----------+---[up 2]---------+---[up 2]---------------------+

    Differences from the paper: a small residual network, from scratch, in place of VGG-16's layers; all three up-samplings are
    bilinear (the paper's inner two start so and are learned).
    """

    kind = "segmentation"
    input_size = None

    def __init__(self, config: FCNConfig) -> None:
        super().__init__()
        self.config = config
        self.name = "fcn"
        self.classes = config.classes
        self.stem = nn.Sequential(_convolution(3, config.stem, 7, 2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))
        inputs = (config.stem, *config.widths)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    _Block(width if block else inputs[number], width, 2 if number and not block else 1)
                    for block in range(config.depths[number])
                )
            )
            for number, width in enumerate(config.widths)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.scores = nn.ModuleList(nn.Conv2d(width, len(config.classes), 1) for width in config.widths[1:])

    @property
    def stride(self) -> int:
        """Pixels per position of the last stage; images are padded to multiples of it by repeating their border."""
        return STEM * 2 ** (len(self.stages) - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores ``(B, K, H, W)`` of images ``(B, 3, H, W)`` in [0, 1]; any size is taken."""
        height, width = x.shape[-2:]
        beyond = (0, -width % self.stride, 0, -height % self.stride)
        x = F.pad(normalised(x, self.config.mean, self.config.std), beyond, mode="replicate")
        features: list[torch.Tensor] = []
        y = self.stem(x)
        for stage in self.stages:
            y = stage(y)
            features.append(y)
        features[-1] = self.dropout(features[-1])
        total = self.scores[-1](features[-1])
        for score, feature in zip(list(self.scores)[-2::-1], features[-2:0:-1], strict=True):
            total = F.interpolate(total, scale_factor=2.0, mode="bilinear", align_corners=False) + score(feature)
        size = x.shape[-2:]
        return F.interpolate(total.float(), size=size, mode="bilinear", align_corners=False)[:, :, :height, :width]
