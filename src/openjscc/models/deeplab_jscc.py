"""DeepLab JSCC: a link for segmentations alone, with DeepLab's atrous convolutions at both ends.

The residual blocks: K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition, CVPR 2016. In training each
process normalises by its own share of the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ..codec import Reconstruction, Side
from ..errors import UsageError
from ._base import Arrived, CodecConfig, LearnedCodec
from ._registry import register
from .layers import ChannelAttention

STEM = 4
"""Stride of the first convolution and the maximum after it, together."""


@dataclass(frozen=True)
class DeepLabConfig(CodecConfig):
    """`CodecConfig` and the network; the defaults are DeepLab's on ResNet-101, cut in two.

    Attributes:
        stem: channels of the first convolution (7x7, stride 2), which a 3x3 maximum with stride 2 follows.
        channels: of every residual stage.
        depths: blocks of every stage.
        strides: of every stage; only at the transmitter.
        atrous: rate of every stage's 3x3 convolutions.
        bottleneck: blocks are 1x1, 3x3, 1x1; else two 3x3.
        sent: so many stages are the transmitter's, the others the receiver's.
        pyramid: rates of ASPP.
        told: both ends weigh their channels by the SNR and the rate (`ChannelAttention`).
        dropout: before ASPP, in training.
        classes: of a segmentation.
    """

    rates: tuple[int, ...] = (12,)
    snr_range: tuple[float, float] = (0.0, 18.0)
    stem: int = 64
    channels: tuple[int, ...] = (256, 512, 1024, 2048)
    depths: tuple[int, ...] = (3, 4, 23, 3)
    strides: tuple[int, ...] = (1, 2, 1, 1)
    atrous: tuple[int, ...] = (1, 1, 2, 4)
    bottleneck: bool = True
    sent: int = 3
    pyramid: tuple[int, ...] = (6, 12, 18, 24)
    told: bool = False
    dropout: float = 0.0
    classes: int = 21

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(len(values) != len(self.channels) for values in (self.depths, self.strides, self.atrous)):
            raise UsageError(f"channels {self.channels}", "give a depth, a stride and an atrous rate for each")
        if not 0 < self.sent < len(self.channels):
            raise UsageError(f"sent {self.sent} of {len(self.channels)} stages", "each end has at least one")
        if min(*self.strides, *self.atrous, *self.depths) < 1 or any(stride > 1 for stride in self.strides[self.sent :]):
            raise UsageError(f"strides {self.strides}", "from 1 up, and 1 at the receiver")
        if self.bottleneck and any(channels % 4 for channels in self.channels):
            raise UsageError(f"channels {self.channels} with bottlenecks", "give multiples of 4")
        if not self.pyramid or min(self.pyramid) < 1:
            raise UsageError(f"pyramid {self.pyramid}", "give the rates of ASPP, e.g. [6, 12, 18, 24]")

    @property
    def stride(self) -> int:
        """Pixels per latent position."""
        return STEM * math.prod(self.strides)


PAPER = DeepLabConfig()
PHOTO = DeepLabConfig(
    snr_range=(0.0, 20.0),
    stem=24,
    channels=(48, 72, 96, 96),
    depths=(2, 2, 3, 2),
    bottleneck=False,
    pyramid=(2, 4, 8, 12),
    told=True,
    dropout=0.1,
)


@register("deeplab_jscc", default_tag="photo", configs={"paper": PAPER, "photo": PHOTO})
class DeepLabJSCC(LearnedCodec):
    """DeepLab cut in two by the channel: what is sent are its features, what comes out is a segmentation.

    L.-C. Chen, G. Papandreou, I. Kokkinos, K. Murphy, A. L. Yuille: DeepLab: Semantic image segmentation with deep convolutional
    nets, atrous convolution, and fully connected CRFs, IEEE Trans. Pattern Anal. Mach. Intell. 40(4), 2018; as the baseline
    "Deeplab JSCC" of W. Yuan et al.: Generative semantic communication for joint image transmission and segmentation, 2024.

    ::

        x --[conv 7x7, /2]-[max, /2]-[res]-[res, /2]-[res, atrous 2]-[AF]-[conv]--> z --power--> channel --> z'
        z' --[conv]-[AF]-[res, atrous 4]-[ASPP: sum of 3x3 of several rates]-[up, bilinear]--> class scores
        res = residual blocks        AF = channels weighed by the SNR (only `photo`)

    >>> from openjscc.codec import Conditions
    >>> codec = DeepLabJSCC(PHOTO).eval()
    >>> frame = codec.encode(torch.rand(1, 3, 224, 224), Conditions(torch.tensor([10.0]), task="segmentation"))
    >>> int(frame.length[0])  # 6 symbols for each of 28 x 28 positions, and a header of 124
    4828

    What the papers leave open, and what was chosen: docs/models/deeplab_jscc.md.
    """

    arch: ClassVar[str] = "deeplab_jscc"
    tasks = ("segmentation",)
    config: DeepLabConfig

    def __init__(self, config: DeepLabConfig) -> None:
        super().__init__(config)
        self.stride = config.stride
        conditions = config.condition_count() if config.told else 0
        self.encoder = Encoder(config, config.condition_count(scale=False) if config.told else 0)
        self.decoder = Decoder(config, conditions)

    def analyse(self, x: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        return self.encoder(2 * x - 1, self.told(snr_db, rate))

    def synthesise(self, latent: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Received latent (zero where nothing was sent) to class scores ``(B, classes, H, W)`` of the padded image."""
        scores = self.decoder(latent, self.told(snr_db, rate, scale)).float()
        size = [self.stride * side for side in scores.shape[-2:]]
        return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)

    def reconstruct(self, arrived: Arrived, side: Side) -> Reconstruction:
        scores = self.synthesise(arrived.latent, arrived.snr_db, arrived.rate, arrived.scale)
        return Reconstruction(segmentation=scores[:, :, : side.height, : side.width])


class Encoder(nn.Module):
    """Image ``(B, 3, H, W)`` in [-1, 1] and conditions to the latent ``(B, C, H/stride, W/stride)``."""

    def __init__(self, config: DeepLabConfig, conditions: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            normalised_convolution(3, config.stem, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)
        )
        self.stages = _stages(config, range(config.sent))
        width = config.channels[config.sent - 1]
        self.attention = ChannelAttention(width, conditions, max(width // 4, 8)) if conditions else None
        self.head = nn.Conv2d(width, config.rates[-1], 3, padding=1)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        x = self.stages(self.stem(x))
        return self.head(x if self.attention is None else self.attention(x, conditions))


class Decoder(nn.Module):
    """Latent ``(B, C, H/stride, W/stride)`` and conditions to class scores ``(B, classes, H/stride, W/stride)``."""

    def __init__(self, config: DeepLabConfig, conditions: int) -> None:
        super().__init__()
        width = config.channels[config.sent - 1]
        self.tail = nn.Sequential(normalised_convolution(config.rates[-1], width, 3), nn.ReLU())
        self.attention = ChannelAttention(width, conditions, max(width // 4, 8)) if conditions else None
        self.stages = _stages(config, range(config.sent, len(config.channels)))
        self.dropout = nn.Dropout(config.dropout)
        self.pyramid = AtrousPyramid(config.channels[-1], config.classes, config.pyramid)

    def forward(self, latent: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        x = self.tail(latent)
        x = x if self.attention is None else self.attention(x, conditions)
        return self.pyramid(self.dropout(self.stages(x)))


def _stages(config: DeepLabConfig, numbers: range) -> nn.Sequential:
    inputs = (config.stem, *config.channels)
    return nn.Sequential(
        *(
            residual_stage(
                inputs[i], config.channels[i], config.depths[i], config.strides[i], config.atrous[i], config.bottleneck
            )
            for i in numbers
        )
    )


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

    DeepLab (`DeepLabJSCC`), section 3.2; each branch gives class scores at once, as in DeepLab's ResNet-101 form.

    Shapes: ``(B, inputs, H, W)`` -> ``(B, outputs, H, W)``.
    """

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate) for rate in rates)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([branch(x) for branch in self.branches]).sum(0)
