"""ADJSCC: deep JSCC that is told the SNR, one weight for all of them; here also one weight for several bandwidth ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ._registry import register
from .deepjscc import DeepJSCC, DeepJSCCConfig, Network
from .layers import GDN, ChannelAttention, Downsample, Stages, Upsample, bottlenecks


@dataclass(frozen=True)
class ADJSCCConfig(DeepJSCCConfig):
    """`DeepJSCCConfig`; the network is one of `ADJSCC.NETWORKS`."""


def paper(config: ADJSCCConfig, conditions: int) -> Network:
    """Xu et al., 2022."""
    c1, c2, c3, c4 = config.sizes("channels", 4)
    latent = config.rates[-1]
    encoder = Stages(
        Downsample(3, c1, 9, stride=2), GDN(c1), nn.PReLU(c1), ChannelAttention(c1, conditions),
        Downsample(c1, c2, 5, stride=2), GDN(c2), nn.PReLU(c2), ChannelAttention(c2, conditions),
        Downsample(c2, c3, 5, stride=1), GDN(c3), nn.PReLU(c3), ChannelAttention(c3, conditions),
        Downsample(c3, c4, 5, stride=1), GDN(c4), nn.PReLU(c4), ChannelAttention(c4, conditions),
        Downsample(c4, latent, 5, stride=1), GDN(latent),
    )  # fmt: skip
    decoder = Stages(
        Upsample(latent, c4, 5, stride=1), GDN(c4, inverse=True), nn.PReLU(c4), ChannelAttention(c4, conditions),
        Upsample(c4, c3, 5, stride=1), GDN(c3, inverse=True), nn.PReLU(c3), ChannelAttention(c3, conditions),
        Upsample(c3, c2, 5, stride=1), GDN(c2, inverse=True), nn.PReLU(c2), ChannelAttention(c2, conditions),
        Upsample(c2, c1, 5, stride=2), GDN(c1, inverse=True), nn.PReLU(c1), ChannelAttention(c1, conditions),
        Upsample(c1, 3, 9, stride=2), GDN(3, inverse=True), nn.Sigmoid(),
        stride=4,
    )  # fmt: skip
    return Network(encoder, decoder)


def cifar10(config: ADJSCCConfig, conditions: int) -> Network:
    """For 32x32 images, at 1/4 of their size."""
    c1, c2, c3 = config.sizes("channels", 3)
    b1, b2, b3 = config.sizes("blocks", 3)
    latent = config.rates[-1]
    encoder = Stages(
        Downsample(3, c1, 5, stride=2), GDN(c1), *bottlenecks(c1, b1),
        Downsample(c1, c2, 3, stride=2), GDN(c2), *bottlenecks(c2, b2), ChannelAttention(c2, conditions),
        Downsample(c2, c3, 3, stride=1), *bottlenecks(c3, b3), ChannelAttention(c3, conditions),
        Downsample(c3, latent, 3, stride=1),
    )  # fmt: skip
    decoder = Stages(
        Upsample(latent, c3, 3, stride=1), *bottlenecks(c3, b3), ChannelAttention(c3, conditions),
        Upsample(c3, c2, 3, stride=1), GDN(c2, inverse=True), *bottlenecks(c2, b2), ChannelAttention(c2, conditions),
        Upsample(c2, c1, 1, stride=2, subpixel=True), GDN(c1, inverse=True), *bottlenecks(c1, b1),
        Upsample(c1, 3, 5, stride=2, subpixel=True),
        stride=4,
    )  # fmt: skip
    return Network(encoder, decoder, linear=True)


def photo_encoder(config: ADJSCCConfig, conditions: int) -> Stages:
    """An image to the latent at 1/8 of its size."""
    c1, c2, c3 = config.sizes("channels", 3)
    b1, b2, b3 = config.sizes("blocks", 3)
    return Stages(
        Downsample(3, c1, 5, stride=2), GDN(c1), *bottlenecks(c1, b1),
        Downsample(c1, c2, 3, stride=2), GDN(c2), *bottlenecks(c2, b2), ChannelAttention(c2, conditions),
        Downsample(c2, c3, 3, stride=2), GDN(c3), *bottlenecks(c3, b3), ChannelAttention(c3, conditions),
        Downsample(c3, config.rates[-1], 3, stride=1),
    )  # fmt: skip


def photo(config: ADJSCCConfig, conditions: int) -> Network:
    """For photographs, at 1/8 of their size."""
    c1, c2, c3 = config.sizes("channels", 3)
    b1, b2, b3 = config.sizes("blocks", 3)
    encoder = photo_encoder(config, conditions)
    decoder = Stages(
        Upsample(config.rates[-1], c3, 3, stride=1),
        GDN(c3, inverse=True), *bottlenecks(c3, b3), ChannelAttention(c3, conditions),
        Upsample(c3, c2, 1, stride=2, subpixel=True),
        GDN(c2, inverse=True), *bottlenecks(c2, b2), ChannelAttention(c2, conditions),
        Upsample(c2, c1, 1, stride=2, subpixel=True),
        GDN(c1, inverse=True), *bottlenecks(c1, b1),
        Upsample(c1, 3, 5, stride=2, subpixel=True),
        stride=8,
    )  # fmt: skip
    return Network(encoder, decoder, linear=True, shortcut=True)


def photo8(config: ADJSCCConfig, conditions: int) -> Network:
    """As `photo`, whose weights are older, with a lapped block transform."""
    return photo(config, conditions)._replace(lapped=True)


@register(
    "adjscc",
    default_tag="photo",
    configs={
        "paper": ADJSCCConfig(agreed_size=(32, 32)),
        "cifar10": ADJSCCConfig(
            rates=(8, 16), agreed_size=(32, 32), network="cifar10", channels=(64, 128, 128), blocks=(1, 2, 2)
        ),
        "photo": ADJSCCConfig(
            rates=(8, 16, 24, 32, 64), send_scale=True, network="photo8", channels=(48, 128, 256), blocks=(0, 2, 4)
        ),
    },
)
class ADJSCC(DeepJSCC):
    """ADJSCC: attention modules between the layers of deep JSCC re-weight channels by the SNR.

    J. Xu, B. Ai, W. Chen, A. Yang, P. Sun, M. Rodrigues: Wireless image transmission using deep source channel coding
    with attention modules, IEEE Trans. Circuits Syst. Video Technol. 32(4), 2022.

    ::

        x --[FL]-[AF]-[FL]-[AF]--...--[conv]--> z --power--> channel --> z' --[FL]-[AF]--...--[conv up]--> x'
                  ^SNR      ^SNR                                                 ^SNR
        FL = convolution, GDN, PReLU        AF = x * sigmoid(FC(ReLU(FC([mean of x, SNR]))))

    Differences from the paper:

    * The receiver is told its own SNR (its noise variance), the transmitter the average one; on AWGN they are the same.
      The SNR is scaled to [-1, 1] over the range that the network was made for.
    * ``cifar10`` and ``photo``, the released ones, are smaller: residual bottleneck blocks instead of more 5x5 layers,
      up-sampling by pixel shuffle, linear output; ``photo`` works at 1/8 of the image's size.
    * ``photo`` has a linear lapped block transform beside the network (at the start from an 8x8 DCT, then learned), and its
      header carries the scale of the symbols (10 bits, counted), which the receiver needs to undo the power normalisation.
    * They serve several bandwidth ratios with one weight: a lower ratio sends the first latent channels only, and the
      attention modules are also told the ratio (one-hot; the receiver reads it from the header).
    """

    arch: ClassVar[str] = "adjscc"
    NETWORKS: ClassVar[Mapping[str, Callable[..., Network]]] = {
        "paper": paper, "cifar10": cifar10, "photo": photo, "photo8": photo8,
    }  # fmt: skip

    @property
    def conditions(self) -> int:
        return self.config.condition_count()

    def tell(self, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        return self.told(snr_db, rate, torch.ones_like(snr_db) if scale is None else scale)  # the transmitter does not know it
