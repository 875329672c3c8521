"""LPIPS and DISTS: distances between images as a network that was trained to recognise things sees them; lower is better.

`LPIPS` and `DISTS` are the networks, for training too: they neither round nor clip, and gradients reach the images. The metrics
`lpips`, `lpips_vgg` and `dists` are the same on images rounded to 8 bits, one image at a time, so the batch changes nothing.
They remember the features of the last sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial, reduce

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import UsageError, unknown_name
from .backbones import ALEXNET, VGG16, Backbone, frozen, load_weights
from .fidelity import check_pair, check_values, eight_bits, finite
from .memory import SourceMemory, bytes_from_environment

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of images in [0, 1], as torchvision's networks were trained with."""

LPIPS_SHIFT, LPIPS_SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of images in [-1, 1], as the heads v0.1 were trained with."""

DISTS_SMALLEST = 32
"""Below so many pixels on a side, the last stage is one value per channel and has no structure to compare."""

SOURCES = SourceMemory(bytes_from_environment(2**29))
"""Features of 24 Kodak images on AlexNet (16 MB each), or of two on VGG16 (192 MB each). ``OPENJSCC_SOURCE_MEMORY`` allows
more: with 5000 (MiB) all of Kodak is remembered on VGG16, and a sweep's DISTS takes half the time."""


class LPIPS(nn.Module):
    """Learned perceptual image patch similarity (Zhang et al. 2018, arXiv:1801.03924, eq. 1), heads v0.1.

    The outputs of five stages of a network, scaled to unit length at each position; the squared difference weighted per channel
    by the head, summed over channels, averaged over positions, summed over stages. Inputs are taken to [-1, 1] inside.

    Args:
        net: ``alex`` (the usual figure in evaluation) or ``vgg`` (VGG16, usual as a training loss).

    Raises:
        UsageError: another net. MissingError, IntegrityError: see `load_weights`.
    """

    def __init__(self, net: str = "alex") -> None:
        super().__init__()
        plans = {"alex": (ALEXNET, "alexnet"), "vgg": (VGG16, "vgg16")}
        if net not in plans:
            raise unknown_name("LPIPS network", net, plans)
        plan, weights = plans[net]
        heads = load_weights(f"lpips-{net}")
        self.backbone = Backbone(plan, load_weights(weights))
        self.heads = len(heads)
        for stage, head in enumerate(heads.values()):
            self.register_buffer(f"head_{stage}", head.clone(), persistent=False)
        self.register_buffer("shift", _per_channel(LPIPS_SHIFT), persistent=False)
        self.register_buffer("scale", _per_channel(LPIPS_SCALE), persistent=False)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Distance per image, ``(B,)``, of images ``(B, 3, H, W)`` in [0, 1].

        Raises:
            UsageError: shapes that differ or are no images, a side below 31 pixels (``alex``) or 16 (``vgg``).
        """
        check_pair(x, y)
        return self.distance(self.features(x), self.features(y))

    def features(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """What is compared of images ``(B, 3, H, W)``: the stages' outputs, of unit length at each position."""
        stages = self.backbone.stages((2 * x.float() - 1 - self.get_buffer("shift")) / self.get_buffer("scale"))
        return map(_unit_length, stages)

    def distance(self, of_x: Iterable[torch.Tensor], of_y: Iterable[torch.Tensor]) -> torch.Tensor:
        """Between images with these `features`, ``(B,)``."""
        parts = [
            F.conv2d((a - b).square(), self.get_buffer(f"head_{stage}")).mean(dim=(1, 2, 3))
            for stage, (a, b) in enumerate(zip(of_x, of_y, strict=True))
        ]
        return reduce(torch.add, parts)


class DISTS(nn.Module):
    """Deep image structure and texture similarity (Ding et al. 2020, arXiv:2004.07728, eqs. 4-7).

    Means (texture) and covariance (structure) per channel of the image itself and of VGG16's five stages, with the max-pooling
    replaced by Hanning-weighted L2 pooling (eq. 1), in the authors' weights alpha and beta. Images are compared at the size
    that they have: the authors' script first shrinks larger ones to 256 pixels on the short side.

    One minus the similarity is summed as differences, ``(m_x - m_y)^2 / (m_x^2 + m_y^2 + c)`` and ``var(x - y) / (var x + var y +
    c)``: the same value as the paper's form, and identical images give 0 exactly.

    Raises:
        MissingError, IntegrityError: see `load_weights`.
    """

    C = 1e-6

    def __init__(self) -> None:
        super().__init__()
        weights = load_weights("dists")
        self.backbone = Backbone(VGG16, load_weights("vgg16"), pool=_L2Pool())
        total = weights["alpha"].sum() + weights["beta"].sum()
        for name in ("alpha", "beta"):
            self.register_buffer(name, (weights[name] / total).flatten(), persistent=False)
        self.register_buffer("mean", _per_channel(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", _per_channel(IMAGENET_STD), persistent=False)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Distance per image, ``(B,)``, of images ``(B, 3, H, W)`` in [0, 1].

        Raises:
            UsageError: shapes that differ or are no images, a side below 32 pixels.
        """
        check_pair(x, y)
        return self.distance(self.features(x), self.features(y))

    def features(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """What is compared of images ``(B, 3, H, W)``: they themselves and the stages' outputs."""
        if min(x.shape[-2:]) < DISTS_SMALLEST:
            raise UsageError(
                f"DISTS of a picture of {x.shape[-1]}x{x.shape[-2]} pixels",
                f"{DISTS_SMALLEST} is the least side; take psnr or ssim",
            )
        x = x.float()
        yield x
        yield from self.backbone.stages((x - self.get_buffer("mean")) / self.get_buffer("std"))

    def distance(self, of_x: Iterable[torch.Tensor], of_y: Iterable[torch.Tensor]) -> torch.Tensor:
        """Between images with these `features`, ``(B,)``."""
        differences = [self._differences(a, b) for a, b in zip(of_x, of_y, strict=True)]
        texture, structure = (torch.cat(parts, dim=1) for parts in zip(*differences, strict=True))
        return texture @ self.get_buffer("alpha") + structure @ self.get_buffer("beta")

    def _differences(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One minus the similarity of means and one minus that of structure, per image and channel ``(B, C)``."""
        x, y = x.flatten(2), y.flatten(2)
        mean_x, mean_y = x.mean(dim=2, keepdim=True), y.mean(dim=2, keepdim=True)
        x, y = x - mean_x, y - mean_y
        texture = (mean_x - mean_y).square() / (mean_x.square() + mean_y.square() + self.C)
        return texture.squeeze(2), _mean_square(x - y) / (_mean_square(x) + _mean_square(y) + self.C)


def _mean_square(x: torch.Tensor) -> torch.Tensor:
    """Per channel; of centred values their variance, faster than `torch.var` of these shapes."""
    return x.square().mean(dim=2)


class _L2Pool(nn.Module):
    """Root of the Hanning-weighted mean of squares over 3x3, stride 2."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        window = x.new_tensor([0.25, 0.5, 0.25])
        kernel = (window[:, None] * window).expand(x.shape[1], 1, 3, 3)
        return (F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def lpips(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`LPIPS` on AlexNet of the 8-bit images, per image.

    Args:
        x: source, float ``(B, 3, H, W)`` in [0, 1], sides of at least 31 pixels.
        y: reconstruction, the same shape.

    Returns:
        float32 ``(B,)``, 0 for identical images; ``nan`` where an image holds values that are not finite.

    Raises:
        UsageError: shapes that differ or are no images, too small. MissingError, IntegrityError: see `load_weights`.
    """
    return _one_by_one(LPIPS, ("alex",), x, y)


def lpips_vgg(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`LPIPS` on VGG16 of the 8-bit images; as `lpips`, sides of at least 16 pixels."""
    return _one_by_one(LPIPS, ("vgg",), x, y)


def dists(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`DISTS` of the 8-bit images; as `lpips`, sides of at least 32 pixels."""
    return _one_by_one(DISTS, (), x, y)


def _one_by_one(make: Callable[..., LPIPS | DISTS], arguments: tuple[str, ...], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Of each image; the features of a source are remembered."""
    check_values(x, y)
    values = []
    with frozen(make, x.device, *arguments) as network:
        for source, received in zip(*(eight_bits(z).div_(255.0).split(1) for z in (x, y)), strict=True):
            of_source = SOURCES.recall(source, (make, arguments), partial(network.features, source))
            values.append(network.distance(of_source, network.features(received)))
    return torch.cat(values).masked_fill(~finite(x, y), torch.nan)


def _per_channel(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values)[:, None, None]


def _unit_length(features: torch.Tensor) -> torch.Tensor:
    """Each position's channels as a vector of length 1. The clamp only keeps the gradient finite where all are 0."""
    features = features.float()  # a backbone may run in less
    length = features.square().sum(dim=1, keepdim=True).clamp_min(1e-20).sqrt()
    return features / (length + 1e-10)
