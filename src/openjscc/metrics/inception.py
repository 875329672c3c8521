"""FID's Inception-v3: the network of 2015 that TensorFlow published, as ported to PyTorch; up to its 2048 features.

Szegedy et al. 2016 (arXiv:1512.00567). It is not torchvision's Inception-v3: the weights are others, average pooling leaves the
padding out of its mean, and the last block pools by maximum. A value computed on another network is not an FID.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import IntegrityError
from .backbones import WEIGHT_FILES, load_weights

SIZE = 299
"""Images are resized to a square of so many pixels."""

FEATURES = 2048

Step = tuple[str, int, tuple[int, int]]
"""Name in the weight file, output channels, kernel."""


class FIDInception(nn.Module):
    """The network, frozen: its weights cannot be trained.

    Raises:
        MissingError, IntegrityError: see `load_weights`.
    """

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):
            network = _network()
        tensors = load_weights("inception")
        expected = set(network.state_dict()) - {key for key in network.state_dict() if key.endswith("num_batches_tracked")}
        shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
        if any(key not in tensors or tensors[key].shape != shapes[key] for key in expected):
            title = WEIGHT_FILES["inception"].title
            raise IntegrityError(f"the file of {title} does not fit the network", f"get {WEIGHT_FILES['inception'].url}")
        counters = {key: torch.tensor(0) for key in set(shapes) - expected}
        network.load_state_dict({key: tensors[key] for key in expected} | counters, assign=True)
        self.network = network.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features ``(B, 2048)``, the mean over positions after the last block, of images ``(B, 3, H, W)`` in [0, 1].

        Images are resized to 299x299 bilinearly (half-pixel centres, no antialiasing) and taken to [-1, 1].
        """
        x = F.interpolate(x.float(), size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        return self.network(2 * x - 1).mean(dim=(2, 3))


def _network() -> nn.Sequential:
    """All layers up to the last block; names as in the weight file."""
    network = nn.Sequential()
    network.add_module("Conv2d_1a_3x3", _Conv(3, 32, (3, 3), stride=2, padded=False))
    network.add_module("Conv2d_2a_3x3", _Conv(32, 32, (3, 3), padded=False))
    network.add_module("Conv2d_2b_3x3", _Conv(32, 64, (3, 3)))
    network.add_module("pool_1", nn.MaxPool2d(3, stride=2))
    network.add_module("Conv2d_3b_1x1", _Conv(64, 80, (1, 1)))
    network.add_module("Conv2d_4a_3x3", _Conv(80, 192, (3, 3), padded=False))
    network.add_module("pool_2", nn.MaxPool2d(3, stride=2))
    for name, inputs, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        network.add_module(f"Mixed_{name}", _block_a(inputs, pooled))
    network.add_module("Mixed_6a", _Reduce(288, [[("branch3x3", 384, (3, 3))], _double_3x3(64, 96)]))
    for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        network.add_module(f"Mixed_{name}", _block_c(width))
    asymmetric = [("branch7x7x3_1", 192, (1, 1)), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1))]
    network.add_module(
        "Mixed_7a",
        _Reduce(
            768, [[("branch3x3_1", 192, (1, 1)), ("branch3x3_2", 320, (3, 3))], [*asymmetric, ("branch7x7x3_4", 192, (3, 3))]]
        ),
    )
    network.add_module("Mixed_7b", _block_e(1280, maximum=False))
    network.add_module("Mixed_7c", _block_e(2048, maximum=True))
    return network


class _Conv(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Branches of convolutions beside a pooling branch, concatenated; a branch's ``fork`` is two convolutions of its output."""

    def __init__(
        self,
        inputs: int,
        branches: Sequence[Sequence[Step]],
        pooled: int,
        *,
        forks: Sequence[Sequence[Step]] = ((), (), ()),
        maximum: bool = False,
    ) -> None:
        super().__init__()
        self.maximum = maximum
        self.names: list[tuple[list[str], list[str]]] = []
        for branch, fork in zip(branches, forks, strict=True):
            width = inputs
            for name, outputs, kernel in branch:
                self.add_module(name, _Conv(width, outputs, kernel))
                width = outputs
            for name, outputs, kernel in fork:
                self.add_module(name, _Conv(width, outputs, kernel))
            self.names.append(([step[0] for step in branch], [step[0] for step in fork]))
        self.branch_pool = _Conv(inputs, pooled, (1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = []
        for branch, fork in self.names:
            y = x
            for name in branch:
                y = self.get_submodule(name)(y)
            outputs += [self.get_submodule(name)(y) for name in fork] or [y]
        if self.maximum:
            pooled = F.max_pool2d(x, 3, stride=1, padding=1)
        else:
            pooled = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        return torch.cat([*outputs, self.branch_pool(pooled)], dim=1)


class _Reduce(nn.Module):
    """Halves the size: branches whose last convolution has stride 2, beside max-pooling."""

    def __init__(self, inputs: int, branches: Sequence[Sequence[Step]]) -> None:
        super().__init__()
        self.names: list[list[str]] = []
        for branch in branches:
            width = inputs
            for number, (name, outputs, kernel) in enumerate(branch, start=1):
                last = number == len(branch)
                self.add_module(name, _Conv(width, outputs, kernel, stride=2 if last else 1, padded=not last))
                width = outputs
            self.names.append([step[0] for step in branch])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = []
        for branch in self.names:
            y = x
            for name in branch:
                y = self.get_submodule(name)(y)
            outputs.append(y)
        return torch.cat([*outputs, F.max_pool2d(x, 3, stride=2)], dim=1)


def _double_3x3(first: int, then: int) -> list[Step]:
    return [("branch3x3dbl_1", first, (1, 1)), ("branch3x3dbl_2", then, (3, 3)), ("branch3x3dbl_3", then, (3, 3))]


def _block_a(inputs: int, pooled: int) -> _Mixed:
    five = [("branch5x5_1", 48, (1, 1)), ("branch5x5_2", 64, (5, 5))]
    return _Mixed(inputs, [[("branch1x1", 64, (1, 1))], five, _double_3x3(64, 96)], pooled)


def _block_c(width: int) -> _Mixed:
    seven = [("branch7x7_1", width, (1, 1)), ("branch7x7_2", width, (1, 7)), ("branch7x7_3", 192, (7, 1))]
    kernels = ((1, 1), (7, 1), (1, 7), (7, 1), (1, 7))
    widths = (width, width, width, width, 192)
    double = [(f"branch7x7dbl_{i}", out, kernel) for i, (out, kernel) in enumerate(zip(widths, kernels, strict=True), start=1)]
    return _Mixed(768, [[("branch1x1", 192, (1, 1))], seven, double], 192)


def _block_e(inputs: int, maximum: bool) -> _Mixed:
    branches = [
        [("branch1x1", 320, (1, 1))],
        [("branch3x3_1", 384, (1, 1))],
        [("branch3x3dbl_1", 448, (1, 1)), ("branch3x3dbl_2", 384, (3, 3))],
    ]
    forks = [
        [],
        [("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))],
        [("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))],
    ]
    return _Mixed(inputs, branches, 192, forks=forks, maximum=maximum)
