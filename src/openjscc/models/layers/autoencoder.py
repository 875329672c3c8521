"""The convolutional autoencoder that the deep JSCC papers of 2019 to 2022 share, in stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ...errors import UsageError
from . import tiling
from .attention import ChannelAttention
from .blocks import Bottleneck, Downsample, Upsample
from .gdn import GDN
from .generator import ChannelNorm, GeneratorBlock


@dataclass(frozen=True)
class AutoencoderConfig:
    """The convolutions of an encoder; the decoder mirrors them.

    Attributes:
        channels: output channels of every layer but the last (whose output is the latent).
        kernels: kernel size of every layer.
        up_kernels: kernel size of every layer's mirror image in the decoder, in the encoder's order; empty: `kernels`.
        strides: stride of every layer.
        blocks: residual blocks after every layer but the last; none in the papers.
        gdn: layers that have GDN after the convolution, the last one included.
        attention: layers that are followed by a `ChannelAttention` (only where the codec has conditions to tell).
        prelu: PReLU, one slope a channel, after every layer but the last.
        subpixel: up-sampling by pixel shuffle instead of transposed convolution.
        shortcut: a linear block transform beside encoder and decoder (`openjscc.models.layers.shortcut`); the networks'
            own output starts at zero.
        lapped: that transform overlaps its neighbours (`LappedAnalysis`), and the transmitter scales every latent channel by
            the SNR and the ratio (`LatentGain`).
        output: ``sigmoid`` as in the papers, or ``linear`` (clipped to [0, 1] at the receiver).
        channel_norm: `ChannelNorm` and ReLU after every layer but the last, in place of GDN and PReLU.
        trunk: `GeneratorBlock` s that the decoder alone has after every layer but the last, in the encoder's order; empty: none.
        trunk_width: channels inside these blocks; 0: as many as outside.
    """

    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    blocks: tuple[int, ...]
    gdn: tuple[bool, ...]
    attention: tuple[bool, ...]
    up_kernels: tuple[int, ...] = ()
    prelu: bool = True
    subpixel: bool = False
    shortcut: bool = False
    lapped: bool = False
    output: Literal["sigmoid", "linear"] = "sigmoid"
    channel_norm: bool = False
    trunk: tuple[int, ...] = ()
    trunk_width: int = 0

    def __post_init__(self) -> None:
        layers = len(self.kernels)
        if self.up_kernels and len(self.up_kernels) != layers:
            raise UsageError(f"{len(self.up_kernels)} up_kernels for {layers} layers", "give one a layer, or none")
        inner = (self.channels, self.blocks, self.attention)
        if len(self.strides) != layers or len(self.gdn) != layers or any(len(values) != layers - 1 for values in inner):
            raise UsageError(
                f"{layers} kernels, {len(self.strides)} strides, {len(self.channels)} channels, {len(self.blocks)} blocks, "
                f"{len(self.gdn)} gdn, {len(self.attention)} attention",
                "give one kernel, stride and gdn a layer, and one of each of the others a layer but the last",
            )
        if self.trunk and len(self.trunk) != layers - 1:
            raise UsageError(f"trunk {self.trunk} for {layers} layers", "give one a layer but the last, or none")
        if self.output not in ("sigmoid", "linear"):
            raise UsageError(f"output {self.output!r}", "sigmoid or linear")

    @property
    def stride(self) -> int:
        """Pixels per latent position."""
        total = 1
        for stride in self.strides:
            total *= stride
        return total


class ConditionedStages(nn.Module):
    """Stages one after another, with a module between two that scales (and shifts) the channels, as `ChannelAttention` does.

    A stage is local (convolutions only); everything that looks at the whole image sits between two stages. An image
    that is too large to be held therefore goes through each stage in tiles (`openjscc.models.layers.tiling`), unless gradients
    are kept.

    Args:
        stages: layers of each stage.
        attention: one less; each has ``affine(x, conditions)``, which says the scale and the shift ``(B, C, 1, 1)`` or None.
        stride: pixels of the image per position of the input, along a side.
    """

    def __init__(self, stages: list[list[nn.Module]], attention: Sequence[nn.Module], stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.stages = nn.ModuleList(nn.Sequential(*layers) for layers in stages)
        self.attention = nn.ModuleList(attention)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        width = x.shape[-1] * self.stride
        if x.shape[-2] * self.stride * width > tiling.WHOLE and not torch.is_grad_enabled():
            return self._in_tiles(x, conditions, width)
        for index, stage in enumerate(self.stages):
            x = self.attention[index - 1](x, conditions) if index else x
            x = stage(x)
        return x

    def _in_tiles(self, x: torch.Tensor, conditions: torch.Tensor, width: int) -> torch.Tensor:
        for index, stage in enumerate(self.stages):
            between = self.attention[index - 1].affine if index else _nothing
            scale, shift = between(x, conditions)  # pyright: ignore[reportCallIssue]
            x = tiling.run_in_tiles(stage, x, scale, shift, tile=tiling.TILE * x.shape[-1] // width)
        return x


def _nothing(x: torch.Tensor, conditions: torch.Tensor) -> tuple[None, None]:
    return None, None


def make_encoder(config: AutoencoderConfig, latent: int, conditions: int) -> ConditionedStages:
    """Image to ``latent`` channels at 1/stride. Without ``conditions`` (0) there is no attention."""
    stages: list[list[nn.Module]] = [[]]
    attention: list[ChannelAttention] = []
    width = 3
    for i, channels in enumerate(config.channels):
        stages[-1] += [Downsample(width, channels, config.kernels[i], config.strides[i]), *_after(config, i, inverse=False)]
        if conditions and config.attention[i]:
            attention.append(_attention(channels, conditions))
            stages.append([])
        width = channels
    last = Downsample(width, latent, config.kernels[-1], config.strides[-1])
    if config.shortcut:
        nn.init.zeros_(last.weight)
    stages[-1].append(last)
    if config.gdn[-1]:
        stages[-1].append(GDN(latent))
    return ConditionedStages(stages, attention, stride=1)


def make_decoder(config: AutoencoderConfig, latent: int, conditions: int) -> ConditionedStages:
    """``latent`` channels back to an image: the encoder's layers in reverse, IGDN for GDN."""
    stages: list[list[nn.Module]] = [[]]
    attention: list[ChannelAttention] = []
    kernels = config.up_kernels or config.kernels
    width = latent
    for i in reversed(range(len(config.channels))):
        channels = config.channels[i]
        up = Upsample(width, channels, kernels[i + 1], config.strides[i + 1], config.subpixel)
        stages[-1] += [up, *_after(config, i, inverse=True)]
        if conditions and config.attention[i]:
            attention.append(_attention(channels, conditions))
            stages.append([])
        width = channels
    last = Upsample(width, 3, kernels[0], config.strides[0], config.subpixel)
    if config.shortcut:
        nn.init.zeros_(next(last.parameters()))
    stages[-1].append(last)
    if config.gdn[-1]:
        stages[-1].append(GDN(3, inverse=True))
    if config.output == "sigmoid":
        stages[-1].append(nn.Sigmoid())
    return ConditionedStages(stages, attention, stride=config.stride)


def _after(config: AutoencoderConfig, i: int, inverse: bool) -> list[nn.Module]:
    """What follows the convolution of layer i."""
    channels = config.channels[i]
    if config.channel_norm:
        layers: list[nn.Module] = [ChannelNorm(channels), nn.ReLU()]
    else:
        layers = [GDN(channels, inverse=inverse)] if config.gdn[i] else []
        layers += [nn.PReLU(channels)] if config.prelu else []
    layers += [Bottleneck(channels) for _ in range(config.blocks[i])]
    if inverse and config.trunk:
        layers += [GeneratorBlock(channels, config.trunk_width or channels) for _ in range(config.trunk[i])]
    return layers


def _attention(channels: int, conditions: int) -> ChannelAttention:
    return ChannelAttention(channels, conditions, hidden=max(channels // 16, 8))
