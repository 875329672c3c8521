"""The CIFAR ResNets of He et al., for reading public weights."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import IntegrityError, MissingError
from ..weightfile import fitted, load_pickled
from ._base import TaskNetwork, normalised
from .classifier import CIFAR10_CLASSES

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STATE_SUFFIXES = (".th", ".pt", ".pth")
SIZE_LIMIT = 2**26
"""Most values in all tensors of a file; ResNet-1202 has 19.4 million."""
_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.conv1\.weight")


class _Block(nn.Module):
    """Two convolutions and a shortcut without parameters: every other pixel, new channels zero (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        before = self.added // 2
        return F.relu(y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.added - before)))


class CifarResNet(TaskNetwork):
    """ResNet of 6n + 2 layers for 32x32 images.

    K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition, CVPR 2016, section 4.2, shortcuts A.

    Args:
        blocks: n, blocks in each of the three stages.
        widths: channels of the stages.
        classes: names, by number.
    """

    kind = "classification"
    input_size = (32, 32)

    def __init__(
        self, blocks: int = 3, widths: tuple[int, int, int] = (16, 32, 64), classes: tuple[str, ...] = CIFAR10_CLASSES
    ) -> None:
        super().__init__()
        self.name = f"resnet{6 * blocks + 2}"
        self.classes = classes
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        stages = zip((widths[0], *widths), widths, (1, 2, 2), strict=False)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(_Block(before, after, stride), *(_Block(after, after, 1) for _ in range(blocks - 1)))
            for before, after, stride in stages
        )
        self.linear = nn.Linear(widths[2], len(classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores ``(B, K)`` of images ``(B, 3, H, W)`` in [0, 1]; normalised by ImageNet's mean and spread."""
        y = F.relu(self.bn1(self.conv1(normalised(x, IMAGENET_MEAN, IMAGENET_STD))))
        return self.linear(self.layer3(self.layer2(self.layer1(y))).mean((2, 3)))


def load_resnet(path: str | os.PathLike[str]) -> CifarResNet:
    """A CIFAR ResNet from a public state dict, in evaluation mode, frozen; its name is the file's.

    Depth, widths and number of classes follow from the keys and shapes. The prefix ``module.`` and an enclosing
    ``state_dict`` are taken off. Ten classes get the names of CIFAR-10. No code in the file is run. No network is built
    before its shapes are known to be those in the file.

    Raises:
        MissingError: no such file.
        IntegrityError: damaged, or something else than the state dict of a CIFAR ResNet.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"no file {path}", "check the path of the task network's weights")
    hint = f"expected the state dict of a ResNet for CIFAR (conv1, bn1, layer1 to layer3, linear), as a {STATE_SUFFIXES[0]} file"
    try:
        tensors = _tensors(load_pickled(path))
        network = fitted(lambda: _shaped(tensors), tensors)
        finite = all(bool(torch.isfinite(value).all()) for value in tensors.values())
    except Exception as error:  # torch.load raises many kinds for a damaged or a foreign file
        raise IntegrityError(f"{path} holds no CIFAR ResNet ({type(error).__name__})", hint) from None
    if not finite:
        raise IntegrityError(f"{path} holds values that are not finite", "get the file again")
    network.name = path.stem
    return network.eval().requires_grad_(False)


def _tensors(content: Any) -> dict[str, torch.Tensor]:
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    kept = {str(key).removeprefix("module."): value for key, value in content.items() if "num_batches" not in str(key)}
    if sum(value.numel() for value in kept.values()) > SIZE_LIMIT:  # a tensor of stride 0 is larger than its file
        raise ValueError("size")
    layers = [key.removesuffix("running_mean") for key in kept if key.endswith("running_mean")]
    counters = {f"{layer}num_batches_tracked": torch.tensor(0) for layer in layers}  # older files have none
    return {key: value.float() for key, value in kept.items()} | counters


def _shaped(tensors: Mapping[str, torch.Tensor]) -> CifarResNet:
    """An untrained network of the depth and the widths that the keys tell."""
    stages = [int(found[1]) for key in tensors if (found := _BLOCK.fullmatch(key))]
    blocks, odd = divmod(len(stages), 3)
    if odd or sorted(stages) != sorted([1, 2, 3] * blocks) or not 1 <= blocks <= 200:
        raise ValueError("blocks")
    widths = [tensors[f"layer{stage}.0.conv1.weight"].shape[0] for stage in (1, 2, 3)]
    count = len(tensors["linear.weight"])
    if not widths[0] <= widths[1] <= widths[2] <= 4096:
        raise ValueError("widths")
    classes = CIFAR10_CLASSES if count == len(CIFAR10_CLASSES) else tuple(str(number) for number in range(count))
    return CifarResNet(blocks, (widths[0], widths[1], widths[2]), classes)
