"""Deep JSCC: the convolutional autoencoder that started the field, and its GDN successor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import nn

from ..errors import UsageError, unknown_name
from ._base import CodecConfig
from ._registry import register
from .layers import GDN, Downsample, ShortcutCodec, Stages, Upsample, bottlenecks


@dataclass(frozen=True)
class DeepJSCCConfig(CodecConfig):
    """`CodecConfig` and the network.

    Attributes:
        network: one of the architecture's `DeepJSCC.NETWORKS`.
        channels: output channels of every layer but the last, whose output is the latent.
        blocks: residual blocks of every layer but the last; empty: none.
    """

    network: str = "paper"
    channels: tuple[int, ...] = (256, 256, 256, 256)
    blocks: tuple[int, ...] = ()

    def sizes(self, name: str, layers: int) -> tuple[int, ...]:
        """The field of that name, which has one value for each of so many layers; nothing stands for zeros.

        Raises:
            UsageError: it has another number of values.
        """
        values = getattr(self, name) or (0,) * layers
        if len(values) != layers:
            raise UsageError(f"{name} {values} of the network {self.network!r}", f"give {layers} numbers")
        return values


class Network(NamedTuple):
    """The two halves of an autoencoder.

    Attributes:
        encoder: image to latent.
        decoder: latent to image.
        linear: images are in [-1, 1] inside, and the decoder's output is clipped; else it ends in a sigmoid.
        shortcut: a linear block transform stands beside them (`ShortcutCodec`).
        lapped: its blocks overlap.
        block_hidden: width inside its attention module; 0: the default.
    """

    encoder: Stages
    decoder: Stages
    linear: bool = False
    shortcut: bool = False
    lapped: bool = False
    block_hidden: int = 0


def paper_2019(config: DeepJSCCConfig, conditions: int) -> Network:
    """Bourtsoulatze et al., 2019."""
    c1, c2, c3, c4 = config.sizes("channels", 4)
    latent = config.rates[-1]
    encoder = Stages(
        Downsample(3, c1, 5, stride=2), nn.PReLU(c1),
        Downsample(c1, c2, 5, stride=2), nn.PReLU(c2),
        Downsample(c2, c3, 5, stride=1), nn.PReLU(c3),
        Downsample(c3, c4, 5, stride=1), nn.PReLU(c4),
        Downsample(c4, latent, 5, stride=1),
    )  # fmt: skip
    decoder = Stages(
        Upsample(latent, c4, 5, stride=1), nn.PReLU(c4),
        Upsample(c4, c3, 5, stride=1), nn.PReLU(c3),
        Upsample(c3, c2, 5, stride=1), nn.PReLU(c2),
        Upsample(c2, c1, 5, stride=2), nn.PReLU(c1),
        Upsample(c1, 3, 5, stride=2), nn.Sigmoid(),
        stride=4,
    )  # fmt: skip
    return Network(encoder, decoder)


def paper(config: DeepJSCCConfig, conditions: int) -> Network:
    """Burth Kurka and Gunduz, 2020."""
    c1, c2, c3, c4 = config.sizes("channels", 4)
    latent = config.rates[-1]
    encoder = Stages(
        Downsample(3, c1, 9, stride=2), GDN(c1), nn.PReLU(c1),
        Downsample(c1, c2, 5, stride=2), GDN(c2), nn.PReLU(c2),
        Downsample(c2, c3, 5, stride=1), GDN(c3), nn.PReLU(c3),
        Downsample(c3, c4, 5, stride=1), GDN(c4), nn.PReLU(c4),
        Downsample(c4, latent, 5, stride=1),
    )  # fmt: skip
    decoder = Stages(
        Upsample(latent, c4, 5, stride=1), GDN(c4, inverse=True), nn.PReLU(c4),
        Upsample(c4, c3, 5, stride=1), GDN(c3, inverse=True), nn.PReLU(c3),
        Upsample(c3, c2, 5, stride=1), GDN(c2, inverse=True), nn.PReLU(c2),
        Upsample(c2, c1, 5, stride=2), GDN(c1, inverse=True), nn.PReLU(c1),
        Upsample(c1, 3, 9, stride=2), nn.Sigmoid(),
        stride=4,
    )  # fmt: skip
    return Network(encoder, decoder)


def photo(config: DeepJSCCConfig, conditions: int) -> Network:
    """Slim, at 1/8 of the image's size."""
    c1, c2, c3 = config.sizes("channels", 3)
    b1, b2, b3 = config.sizes("blocks", 3)
    latent = config.rates[-1]
    encoder = Stages(
        Downsample(3, c1, 5, stride=2), GDN(c1), nn.PReLU(c1), *bottlenecks(c1, b1),
        Downsample(c1, c2, 5, stride=2), GDN(c2), nn.PReLU(c2), *bottlenecks(c2, b2),
        Downsample(c2, c3, 3, stride=2), GDN(c3), nn.PReLU(c3), *bottlenecks(c3, b3),
        Downsample(c3, latent, 3, stride=1),
    )  # fmt: skip
    decoder = Stages(
        Upsample(latent, c3, 3, stride=1), GDN(c3, inverse=True), nn.PReLU(c3), *bottlenecks(c3, b3),
        Upsample(c3, c2, 1, stride=2, subpixel=True), GDN(c2, inverse=True), nn.PReLU(c2), *bottlenecks(c2, b2),
        Upsample(c2, c1, 1, stride=2, subpixel=True), GDN(c1, inverse=True), nn.PReLU(c1), *bottlenecks(c1, b1),
        Upsample(c1, 3, 5, stride=2, subpixel=True),
        stride=8,
    )  # fmt: skip
    return Network(encoder, decoder, linear=True, shortcut=True)


@register(
    "deepjscc",
    default_tag="photo",
    configs={
        "paper-2019": DeepJSCCConfig(agreed_size=(32, 32), network="paper-2019", channels=(16, 32, 32, 32)),
        "paper": DeepJSCCConfig(agreed_size=(32, 32)),
        "photo": DeepJSCCConfig(
            rates=(8, 16, 24, 32, 64), send_scale=True, network="photo", channels=(48, 96, 128), blocks=(0, 1, 2)
        ),
    },
)
class DeepJSCC(ShortcutCodec):
    """Deep JSCC (not told the SNR).

    E. Bourtsoulatze, D. Burth Kurka, D. Gunduz: Deep joint source-channel coding for wireless image transmission, IEEE
    Trans. Cogn. Commun. Netw. 5(3), 2019 (configuration ``paper-2019``); D. Burth Kurka, D. Gunduz: DeepJSCC-f: deep
    joint source-channel coding of images with feedback, IEEE J. Sel. Areas Inf. Theory 1(1), 2020, its network without
    feedback (``paper``), which later papers call Deep JSCC (MSE).

    ::

        x --[conv s2]-[GDN]-[PReLU]--...--[conv]--> z --power--> channel --> z' --[conv]-[IGDN]-[PReLU]--...--[conv up]--> x'

    Differences from the papers:

    * Power is normalised per image to mean symbol energy 1 (the papers: the same, per image); a header is counted.
    * ``paper-2019`` and ``paper`` are configured for CBR 1/6 on CIFAR-10 (16 real latent channels at 8x8).
    * ``photo``, the released one, is slim (48, 96 and 128 channels), works at 1/8 of the image's size with residual
      bottleneck blocks and pixel shuffle, has a linear output, and serves five bandwidth ratios with one weight: it sends
      the first latent channels only. It has a linear block transform beside the network (an 8x8 DCT at the start, then
      learned), and its header carries the scale of the symbols (10 bits, counted).
    """

    arch: ClassVar[str] = "deepjscc"
    NETWORKS: ClassVar[Mapping[str, Callable[..., Network]]] = {"paper-2019": paper_2019, "paper": paper, "photo": photo}

    def __init__(self, config: DeepJSCCConfig) -> None:
        super().__init__(config)
        if config.network not in self.NETWORKS:
            raise unknown_name(f"network of {self.arch}", config.network, self.NETWORKS)
        network = self.NETWORKS[config.network](config, self.conditions)
        self.encoder, self.decoder, self.linear = network.encoder, network.decoder, network.linear
        self.stride = self.decoder.stride
        if network.shortcut:
            last = (next(layer.parameters()) for layer in (self.encoder.last, self.decoder.last))
            self.add_shortcut(self.conditions, *last, hidden=network.block_hidden, lapped=network.lapped)

    @property
    def conditions(self) -> int:
        """Number of values that the attention modules are told; 0 without such modules."""
        return 0

    def tell(self, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        """What the attention modules are told, ``(B, conditions)``."""
        return torch.zeros(len(rate), 0, device=rate.device)

    def analyse(self, x: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        x = 2 * x - 1 if self.linear else x
        told = self.tell(snr_db, rate)
        latent = self.with_coefficients(self.encoder(x, told), x)
        return latent if self.latent_gain is None else self.latent_gain(latent, told)

    def synthesise(self, latent: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        told = self.tell(snr_db, rate, scale)
        y = self.decoder(latent, told).float() + self.linear_image(latent, told)
        return (y + 1) / 2 if self.linear else y
