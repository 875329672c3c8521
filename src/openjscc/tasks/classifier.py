"""``classifier``: a compact classifier of 32x32 images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ._base import TaskNetwork, normalised

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class ClassifierConfig:
    """How wide it is and what it tells apart.

    Attributes:
        widths: channels of the first convolution, then of the three stages.
        classes: names, by number.
        input_size: ``(H, W)`` of the images that it is trained on.
        mean: of the training images, per channel.
        std: of the training images, per channel.
    """

    widths: tuple[int, ...] = (24, 48, 80, 104)
    classes: tuple[str, ...] = CIFAR10_CLASSES
    input_size: tuple[int, int] = (32, 32)
    mean: tuple[float, ...] = CIFAR10_MEAN
    std: tuple[float, ...] = CIFAR10_STD


CONFIGS = {"cifar10": ClassifierConfig()}


def _convolution(inputs: int, outputs: int, *, pool: bool = False) -> nn.Sequential:
    """3x3 convolution, perhaps 2x2 maximum, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.MaxPool2d(2) if pool else nn.Identity(),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Stage(nn.Module):
    """Halves the image, then adds what two convolutions make of it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = _convolution(inputs, outputs, pool=True)
        self.residual = nn.Sequential(_convolution(outputs, outputs), _convolution(outputs, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down(x)
        return x + self.residual(x)


class Classifier(TaskNetwork):
    """A convolution, three stages of a pooled convolution and a residual block, the mean over positions, a linear layer.

    After He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), in the short and wide form of D. Page's
    "How to train your ResNet" (2018), slimmed to fit into 1 MiB in half precision.
    """

    kind = "classification"

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.name = "classifier"
        self.classes = config.classes
        self.input_size = config.input_size
        first, *others = config.widths
        stages = [_Stage(before, after) for before, after in zip(config.widths, others, strict=False)]
        self.features = nn.Sequential(_convolution(3, first), *stages)
        self.head = nn.Linear(config.widths[-1], len(config.classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores ``(B, K)`` of images ``(B, 3, H, W)`` in [0, 1]; any size from 8x8 up is taken."""
        return self.head(self.features(normalised(x, self.config.mean, self.config.std)).mean((2, 3)))
