"""Networks of MTGSC and their configuration: source knowledge bases of both ends, the JSCC encoder, a decoder for each task.

W. Yuan, J. Ren, C. Wang, R. Zhang, J. Wei, D. I. Kim, S. Cui: Generative semantic communication for joint image transmission and
segmentation, 2024, sections III and IV.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from ...errors import UsageError
from .._base import CodecConfig
from ..layers import GDN, ChannelAttention
from ..layers.swin import PatchEmbedding, PatchMerging, SwinStage, start
from .transformer import DiT

RECONSTRUCTION, SEGMENTATION = "reconstruction", "segmentation"
STRIDE = 8
GROUPS = 8
"""Of the normalisation in the segmentation decoder."""


@dataclass(frozen=True)
class MTGSCConfig(CodecConfig):
    """`CodecConfig` and the networks; the defaults are Table I of the paper.

    Attributes:
        segmentation_rate: index of the rate at which a segmentation is sent.
        patch: pixels along a side that become one vector of the Swin Transformer.
        channels: of the Swin Transformer: of its embedding, then after each of three mergings.
        depths: blocks of its three levels.
        heads: of its attention.
        window: positions along the side of its attention windows.
        hidden: width of the JSCC encoder, of the receiver's knowledge base and of the segmentation decoder.
        front: channels of two convolutions of stride 2 with generalised divisive normalisation between them, through which the
            encoder sees the image; 0: blocks of 4x4 pixels.
        gdn: generalised divisive normalisation in the place of the ReLUs of the encoder and of those after the blocks of the
            receiver's knowledge base (there the inverse), as in `ADJSCC`.
        told: encoder and receiver's knowledge base weigh their channels by the SNR (`ChannelAttention`).
        width: of the diffusion transformer.
        depth: its blocks.
        decoder_heads: of its attention.
        token: grid positions (of 8x8 pixels) along a side that make one of its tokens.
        span: tokens along the side of its attention windows; 0: attention over the whole image.
        expansion: hidden width of its MLPs, over ``width``.
        shared: one layer tells all its blocks the time, see `openjscc.models.mtgsc.transformer.DiT`.
        fine: channels at half the image's size, after the up-sampling.
        dropout: in the segmentation decoder, in training.
        classes: of a segmentation.
        state: what it starts from: the received ``signal``, or Gaussian ``noise`` of the image's size. The former takes the
            linear block transform, through which a received signal is a noisy image.
        bridge: of the former: standard deviation of the noise in the states between image and received signal, see
            `openjscc.models.mtgsc.diffusion.Bridge`.
        shortcut: a linear block transform beside encoder and decoder (`openjscc.models.layers.shortcut`).
    """

    rates: tuple[int, ...] = (12, 24)
    snr_range: tuple[float, float] = (0.0, 18.0)
    segmentation_rate: int = 0
    patch: int = 4
    channels: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (2, 2, 2)
    heads: int = 3
    window: int = 7
    hidden: int = 128
    front: int = 0
    gdn: bool = False
    told: bool = False
    width: int = 1152
    depth: int = 28
    decoder_heads: int = 16
    token: int = 2
    span: int = 0
    expansion: int = 4
    shared: bool = False
    fine: int = 32
    dropout: float = 0.1
    classes: int = 21
    state: Literal["signal", "noise"] = "noise"
    bridge: float = 0.2
    shortcut: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.channels) != 4 or len(self.depths) != 3:
            raise UsageError(f"channels {self.channels}, depths {self.depths}", "give four widths and three depths")
        if any(channels % self.heads for channels in self.channels[:3]) or self.width % self.decoder_heads:
            raise UsageError(f"{self.heads} and {self.decoder_heads} heads", "give widths that they divide")
        if self.patch != STRIDE // 2:
            raise UsageError(f"patch {self.patch}", f"the first level works at 1/{STRIDE // 2} of the picture's size")
        if self.state == "signal" and not self.shortcut:
            raise UsageError('state "signal" without shortcut', 'a received signal is no picture then: take state "noise"')
        if not self.bridge >= 0:
            raise UsageError(f"bridge {self.bridge}", "a standard deviation: 0 or more")
        if not 0 <= self.segmentation_rate < len(self.rates):
            raise UsageError(f"segmentation_rate {self.segmentation_rate}", f"an index into {len(self.rates)} rates")


class TransmitterKB(nn.Module):
    """Source knowledge base of the transmitter: features of three levels of a Swin Transformer, summed on the first one's grid.

    Shapes: x ``(B, 3, H, W)`` in [-1, 1] -> ``(B, channels[0], H/8, W/8)``.
    """

    def __init__(self, config: MTGSCConfig) -> None:
        super().__init__()
        channels = config.channels
        self.embedding = PatchEmbedding(3, channels[0], config.patch)
        self.stages = nn.ModuleList(
            SwinStage(width, depth, config.heads, config.window) for width, depth in zip(channels[:3], config.depths, strict=True)
        )
        self.mergings = nn.ModuleList(PatchMerging(*pair) for pair in itertools.pairwise(channels))
        self.levels = nn.ModuleList(nn.Linear(width, channels[0]) for width in channels[1:])
        self.apply(start)

    def forward(self, x: torch.Tensor, task: str) -> torch.Tensor:
        x = self.embedding(x)
        total: torch.Tensor | None = None
        grid = (0, 0)
        for number, (stage, merging, level) in enumerate(zip(self.stages, self.mergings, self.levels, strict=True)):
            x = merging(stage(x))
            if not number:
                grid = (x.shape[1], x.shape[2])
                if task == SEGMENTATION:
                    continue
            feature = level(x).movedim(-1, 1).repeat_interleave(2**number, 2).repeat_interleave(2**number, 3)
            feature = feature[:, :, : grid[0], : grid[1]]
            total = feature if total is None else total + feature
        assert total is not None
        return total


class Encoder(nn.Module):
    """JSCC encoder of both tasks: image and feature, a residual block with a stride, and a last convolution for each task.

    The image comes as 4x4 blocks, or through two convolutions of stride 2; the feature is repeated to that grid.
    """

    def __init__(self, config: MTGSCConfig, conditions: int) -> None:
        super().__init__()
        self.front = _front(config.front) if config.front else nn.PixelUnshuffle(STRIDE // 2)
        inside = (config.front or 3 * (STRIDE // 2) ** 2) + config.channels[0]
        self.first = nn.Conv2d(inside, config.hidden, 3, padding=1)
        self.second = nn.Conv2d(config.hidden, config.hidden, 3, stride=2, padding=1)
        self.skip = nn.Conv2d(inside, config.hidden, 1, stride=2)
        self.activations = nn.ModuleList(GDN(config.hidden) if config.gdn else nn.ReLU() for _ in range(2))
        self.attention = ChannelAttention(config.hidden, conditions, config.hidden // 4) if config.told else None
        widths = {RECONSTRUCTION: config.rates[-1], SEGMENTATION: config.rates[config.segmentation_rate]}
        self.heads = nn.ModuleDict({task: nn.Conv2d(config.hidden, width, 3, padding=1) for task, width in widths.items()})

    def forward(self, x: torch.Tensor, feature: torch.Tensor, conditions: torch.Tensor, task: str) -> torch.Tensor:
        feature = feature.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = self.front(x)
        x = torch.cat([x, feature.to(x.dtype)], dim=1)
        x = self.activations[1](self.second(self.activations[0](self.first(x))) + self.skip(x))
        return self.heads[task](x if self.attention is None else self.attention(x, conditions))


def _front(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, channels, 5, stride=2, padding=2), GDN(channels), nn.Conv2d(channels, channels, 3, stride=2, padding=1)
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and the input, ReLU after the first and after the sum; a 1x1 convolution where widths differ.

    Args:
        channels: of what goes in.
        out: of what comes out.
        dropout: between the convolutions, in training.
        groups: of a group normalisation after each convolution; 0: none.
        signed: without the second ReLU.
    """

    def __init__(self, channels: int, out: int, dropout: float = 0.0, groups: int = 0, signed: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, padding=1)
        self.second = nn.Conv2d(out, out, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(groups, out) if groups else nn.Identity() for _ in range(2))
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.signed = signed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.dropout(F.relu(self.norms[0](self.first(x))))
        y = self.norms[1](self.second(y)) + self.skip(x)
        return y if self.signed else F.relu(y)


class ReceiverKB(nn.Module):
    """Source knowledge base of the receiver: both residual blocks' outputs for an image, the first one's for a segmentation.

    Shapes: latent ``(B, rates[-1], H/8, W/8)`` -> ``(B, hidden, H/8, W/8)``.
    """

    def __init__(self, config: MTGSCConfig, conditions: int) -> None:
        super().__init__()
        self.first = ResidualBlock(config.rates[-1], config.hidden, signed=config.gdn)
        self.gdn = GDN(config.hidden, inverse=True) if config.gdn else nn.Identity()
        self.attention = ChannelAttention(config.hidden, conditions, config.hidden // 4) if config.told else None
        self.second = ResidualBlock(config.hidden, config.hidden, signed=config.gdn)

    def forward(self, latent: torch.Tensor, conditions: torch.Tensor, task: str) -> torch.Tensor:
        x = self.gdn(self.first(latent))
        x = x if self.attention is None else self.attention(x, conditions)
        return x if task == SEGMENTATION else x + self.second(x)


class PictureDecoder(nn.Module):
    """JSCC decoder of pictures: a diffusion transformer on patches of the state, the received signal and the feature; what it
    makes of them goes back to the grid, is up-sampled and passes a residual block.

    Shapes: state ``(B, 3, H, W)``, latent ``(B, rates[-1], H/8, W/8)``, feature ``(B, hidden, H/8, W/8)``, time ``(B,)``,
    conditions ``(B, K)`` -> ``(B, 3, H, W)``.
    """

    def __init__(self, config: MTGSCConfig, conditions: int) -> None:
        super().__init__()
        self.token = config.token
        inside = 3 * STRIDE**2 + config.rates[-1] + config.hidden
        self.embedding = nn.Conv2d(inside, config.width, config.token, stride=config.token)
        self.transformer = DiT(
            config.width, config.depth, config.decoder_heads, config.span, config.expansion, conditions, config.shared
        )
        self.patches = nn.Linear(config.width, config.token**2 * config.hidden)
        self.up = nn.Conv2d(config.hidden, (STRIDE // 2) ** 2 * config.fine, 3, padding=1)
        self.block = ResidualBlock(config.fine, config.fine, signed=True)
        self.last = nn.Conv2d(config.fine, 3 * 4, 3, padding=1)

    def forward(
        self, state: torch.Tensor, latent: torch.Tensor, feature: torch.Tensor, time: torch.Tensor, conditions: torch.Tensor
    ) -> torch.Tensor:
        height, width = latent.shape[-2:]
        x = torch.cat([F.pixel_unshuffle(state, STRIDE).to(feature.dtype), latent.to(feature.dtype), feature], dim=1)
        x = F.pad(x, (0, -width % self.token, 0, -height % self.token), mode="replicate") if self.token > 1 else x
        x = self.transformer(self.embedding(x).movedim(1, -1), time, conditions)
        x = F.pixel_shuffle(self.patches(x).movedim(-1, 1), self.token)[:, :, :height, :width]
        x = F.pixel_shuffle(self.up(x + feature), STRIDE // 2)
        return F.pixel_shuffle(self.last(self.block(x)), 2)


class SegmentationDecoder(nn.Module):
    """JSCC decoder of segmentations: two residual blocks with group normalisation, dropout, and a 1x1 convolution to class
    scores, before the up-sampling (bilinear, so that the order does not matter).

    Shapes: ``(B, hidden, H/8, W/8)`` -> ``(B, classes, H/8, W/8)``.
    """

    def __init__(self, config: MTGSCConfig) -> None:
        super().__init__()
        blocks = (ResidualBlock(config.hidden, config.hidden, config.dropout, groups=GROUPS) for _ in range(2))
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(config.dropout)
        self.scores = nn.Conv2d(config.hidden, config.classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scores(self.dropout(self.blocks(x)))
