"""Deep JSCC: the convolutional autoencoder that started the field, and its GDN successor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from ._base import CodecConfig, LearnedCodec
from ._registry import register
from .layers import ChannelAttention
from .layers.autoencoder import AutoencoderConfig, make_decoder, make_encoder
from .layers.shortcut import LatentGain, block_analysis, block_synthesis

NETWORK_2019 = AutoencoderConfig(
    channels=(16, 32, 32, 32),
    kernels=(5, 5, 5, 5, 5),
    strides=(2, 2, 1, 1, 1),
    blocks=(0, 0, 0, 0),
    gdn=(False, False, False, False, False),
    attention=(False, False, False, False),
)
NETWORK_2020 = AutoencoderConfig(
    channels=(256, 256, 256, 256),
    kernels=(9, 5, 5, 5, 5),
    strides=(2, 2, 1, 1, 1),
    blocks=(0, 0, 0, 0),
    gdn=(True, True, True, True, False),
    attention=(False, False, False, False),
)
NETWORK_PHOTO = AutoencoderConfig(
    channels=(48, 96, 128),
    kernels=(5, 5, 3, 3),
    up_kernels=(5, 1, 1, 3),
    strides=(2, 2, 2, 1),
    blocks=(0, 1, 2),
    gdn=(True, True, True, False),
    attention=(False, False, False),
    subpixel=True,
    shortcut=True,
    output="linear",
)


@dataclass(frozen=True)
class DeepJSCCConfig(CodecConfig):
    """`CodecConfig` and the convolutions."""

    network: AutoencoderConfig = field(default=NETWORK_2020)


@register(
    "deepjscc",
    default_tag="photo",
    configs={
        "paper-2019": DeepJSCCConfig(rates=(16,), agreed_size=(32, 32), network=NETWORK_2019),
        "paper": DeepJSCCConfig(rates=(16,), agreed_size=(32, 32), network=NETWORK_2020),
        "photo": DeepJSCCConfig(rates=(8, 16, 24, 32, 64), send_scale=True, network=NETWORK_PHOTO),
    },
)
class DeepJSCC(LearnedCodec):
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

    def __init__(self, config: DeepJSCCConfig) -> None:
        super().__init__(config)
        network, latent = config.network, config.rates[-1]
        self.stride = network.stride
        self.linear = network.output == "linear"
        self.encoder = make_encoder(network, latent, self.conditions)
        self.decoder = make_decoder(network, latent, self.conditions)
        self.block_analysis = self.block_synthesis = self.block_attention = self.latent_gain = None
        if network.shortcut:
            self.block_analysis = block_analysis(latent, self.stride, network.lapped)
            self.block_synthesis = block_synthesis(latent, self.stride, network.lapped)
            if network.lapped and self.conditions:
                self.latent_gain = LatentGain(latent, self.conditions)
            if self.conditions:
                self.block_attention = ChannelAttention(latent, self.conditions, hidden=self.block_hidden, start=0.95)

    @property
    def conditions(self) -> int:
        """Number of values that the attention modules are told; 0 without such modules."""
        return 0

    @property
    def block_hidden(self) -> int:
        """Width inside the attention module of the block transform."""
        return max(self.config.rates[-1] // 2, 8)

    def tell(self, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        """What the attention modules are told, ``(B, conditions)``."""
        return torch.zeros(len(rate), 0, device=rate.device)

    def analyse(self, x: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        x = 2 * x - 1 if self.linear else x
        told = self.tell(snr_db, rate)
        latent = self.encoder(x, told)
        if self.block_analysis is not None:
            latent = latent + self.block_analysis(x)
        return latent if self.latent_gain is None else self.latent_gain(latent, told)

    def synthesise(self, latent: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        told = self.tell(snr_db, rate, scale)
        y = self.decoder(latent, told).float()
        if self.block_synthesis is not None:
            blocks = latent if self.block_attention is None else self.block_attention(latent, told)
            y = y + self.block_synthesis(blocks).float()
        return (y + 1) / 2 if self.linear else y
