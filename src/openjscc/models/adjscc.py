"""ADJSCC: deep JSCC that is told the SNR, one weight for all of them; here also one weight for several bandwidth ratios."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from ._registry import register
from .deepjscc import DeepJSCC, DeepJSCCConfig
from .layers.autoencoder import AutoencoderConfig
from .layers.conditions import condition_count, told

NETWORK_PAPER = AutoencoderConfig(
    channels=(256, 256, 256, 256),
    kernels=(9, 5, 5, 5, 5),
    strides=(2, 2, 1, 1, 1),
    blocks=(0, 0, 0, 0),
    gdn=(True, True, True, True, True),
    attention=(True, True, True, True),
)
NETWORK_CIFAR10 = AutoencoderConfig(
    channels=(64, 128, 128),
    kernels=(5, 3, 3, 3),
    up_kernels=(5, 1, 3, 3),
    strides=(2, 2, 1, 1),
    blocks=(1, 2, 2),
    gdn=(True, True, False, False),
    attention=(False, True, True),
    prelu=False,
    subpixel=True,
    output="linear",
)
NETWORK_PHOTO = AutoencoderConfig(
    channels=(48, 128, 192),
    kernels=(5, 3, 3, 3),
    up_kernels=(5, 1, 1, 3),
    strides=(2, 2, 2, 1),
    blocks=(0, 2, 3),
    gdn=(True, True, True, False),
    attention=(False, True, True),
    prelu=False,
    subpixel=True,
    shortcut=True,
    output="linear",
)


NETWORK_PHOTO8 = dataclasses.replace(NETWORK_PHOTO, channels=(48, 128, 256), blocks=(0, 2, 4), lapped=True)
NETWORK_PHOTO16 = AutoencoderConfig(
    channels=(48, 128, 192, 256),
    kernels=(5, 3, 3, 3, 1),
    up_kernels=(5, 1, 1, 1, 1),
    strides=(2, 2, 2, 2, 1),
    blocks=(0, 2, 3, 1),
    gdn=(True, True, True, False, False),
    attention=(False, True, True, True),
    prelu=False,
    subpixel=True,
    shortcut=True,
    lapped=True,
    output="linear",
)


@dataclass(frozen=True)
class ADJSCCConfig(DeepJSCCConfig):
    """`DeepJSCCConfig` with attention modules."""

    network: AutoencoderConfig = field(default=NETWORK_PAPER)


@register(
    "adjscc",
    default_tag="photo",
    configs={
        "paper": ADJSCCConfig(rates=(16,), agreed_size=(32, 32), network=NETWORK_PAPER),
        "cifar10": ADJSCCConfig(rates=(8, 16), agreed_size=(32, 32), network=NETWORK_CIFAR10),
        "photo": ADJSCCConfig(rates=(8, 16, 24, 32, 64), send_scale=True, network=NETWORK_PHOTO),
        "photo8": ADJSCCConfig(rates=(8, 16, 24, 32, 64), send_scale=True, network=NETWORK_PHOTO8),
        "photo16": ADJSCCConfig(rates=(32, 64, 96, 128, 256), send_scale=True, network=NETWORK_PHOTO16),
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
    * ``photo`` has a linear block transform beside the network (an 8x8 DCT at the start, then learned), and its header carries
      the scale of the symbols (10 bits, counted), which the receiver needs to undo the power normalisation.
    * They serve several bandwidth ratios with one weight: a lower ratio sends the first latent channels only, and the
      attention modules are also told the ratio (one-hot; the receiver reads it from the header).
    """

    arch: ClassVar[str] = "adjscc"

    @property
    def conditions(self) -> int:
        return condition_count(len(self.config.rates), self.config.send_scale)

    def tell(self, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        if self.config.send_scale and scale is None:
            scale = torch.ones_like(snr_db)  # the transmitter does not know it yet
        return told(snr_db, self.config.snr_range, rate, len(self.config.rates), scale if self.config.send_scale else None)
