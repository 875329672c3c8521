"""Perceptual deep JSCC: the decoder is a generator, trained on what people see."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from ..errors import UsageError
from ..units import format_ratio
from ._base import LearnedCodec
from ._registry import register
from .adjscc import ADJSCC, ADJSCCConfig
from .adjscc import NETWORK_PHOTO as NETWORK_ADJSCC
from .layers.attention import ChannelAttention
from .layers.autoencoder import AutoencoderConfig
from .layers.conditions import condition_count

NETWORK_PAPER = AutoencoderConfig(
    channels=(64, 128, 256),
    kernels=(7, 3, 3, 3),
    strides=(1, 2, 2, 1),
    blocks=(0, 0, 0),
    gdn=(False, False, False, False),
    attention=(True, True, True),
    prelu=False,
    output="linear",
    channel_norm=True,
    trunk=(0, 0, 9),
)
NETWORK_PHOTO = dataclasses.replace(NETWORK_ADJSCC, trunk=(0, 2, 7), trunk_width=60)
NETWORK_SMALL = AutoencoderConfig(
    channels=(32, 64, 96),
    kernels=(5, 3, 3, 3),
    up_kernels=(5, 1, 1, 3),
    strides=(2, 2, 2, 1),
    blocks=(0, 1, 2),
    gdn=(True, True, True, False),
    attention=(False, True, True),
    prelu=False,
    subpixel=True,
    shortcut=True,
    output="linear",
    trunk=(0, 0, 2),
    trunk_width=48,
)


@dataclass(frozen=True)
class GANJSCCConfig(ADJSCCConfig):
    """`ADJSCCConfig`; the defaults are the paper's."""

    rates: tuple[int, ...] = (2,)
    default_rate: int = 0
    network: AutoencoderConfig = field(default=NETWORK_PAPER)


@register(
    "ganjscc",
    default_tag="photo",
    configs={
        "paper": GANJSCCConfig(),
        "photo": GANJSCCConfig(rates=(8, 16, 32), send_scale=True, network=NETWORK_PHOTO),
        "small": GANJSCCConfig(rates=(8,), send_scale=True, network=NETWORK_SMALL),
    },
)
class GANJSCC(ADJSCC):
    """Perceptual (generative) deep JSCC: the decoder is a generator, and what is minimised is what people see.

    J. Wang, S. Wang, J. Dai, Z. Si, D. Zhou, K. Niu: Perceptual learned source-channel coding for high-fidelity image
    semantic transmission, IEEE Global Communications Conference (GLOBECOM), 2022.

    ::

        x --[conv7]-[conv3 s2]-[conv3 s2]-[conv3]--> s --power--> W --> s' --[conv3]-[block x 9]-[up 2]-[up 2]-[conv7]--> x'
            |----------- encoder f_e -----------|                   |    |---------------- generator f_g ---------------|
                                                                    v
        training: x or x' --> discriminator f_d (openjscc.training.discriminator), told s' --> real or received, patch by patch
        block = y + CN(conv3(ReLU(CN(conv3(y)))))    CN = ChannelNorm; CN and ReLU after each other layer but the two last ones

    Differences from the paper:

    * Text and the authors' test code describe two networks; ``paper`` follows the text (docs/models/ganjscc.md). The bandwidth
      ratio counts complex symbols: two real channels at a quarter of the image's size are CBR 1/48.
    * ``paper`` is told the SNR by attention modules (ADJSCC) after each layer but the last, as in the authors' code.
    * The residual blocks start as the identity.
    * ``photo``, the released one, is adjscc.photo's network at CBR 1/48, 1/24 and 1/12, with nine residual blocks more in its
      decoder, so that training goes on where that weight ended (`start_from`). ``small`` is made alike, for ablations.
    """

    arch: ClassVar[str] = "ganjscc"
    config: GANJSCCConfig

    @property
    def block_hidden(self) -> int:
        return 32  # as adjscc.photo's

    def start_from(self, source: LearnedCodec) -> int:
        """Take over a trained network that is this one without the trunk. With a fresh trunk the two then do the same, at the
        ratios of this one.

        Args:
            source: an ADJSCC whose ratios include those of this one.

        Returns:
            How many parameters are new.

        Raises:
            UsageError: another network, or a ratio that it does not have.
        """
        plain, theirs = dataclasses.replace(self.config.network, trunk=(), trunk_width=0), source.config
        ours = (plain, self.config.send_scale, self.config.snr_range)
        if not isinstance(theirs, ADJSCCConfig) or (theirs.network, theirs.send_scale, theirs.snr_range) != ours:
            raise UsageError(f"{source.name} is another network than {self.name}", "ganjscc.photo can start from adjscc.photo")
        strange = [format_ratio(ratio) for ratio in self.ratios if ratio not in source.ratios]
        if strange:
            raise UsageError(f"{source.name} has no bandwidth ratio {', '.join(strange)}", "train from scratch, or choose others")
        given, kept, new = source.state_dict(), self.state_dict(), 0
        attention = {f"{name}.reduce": layer for name, layer in self.named_modules() if isinstance(layer, ChannelAttention)}
        for name, tensor in kept.items():
            if name not in given:
                new += tensor.numel()
            elif name.removesuffix(".weight") not in attention:
                tensor.copy_(given[name][tuple(slice(size) for size in tensor.shape)])
        for name in attention:
            weight, bias = (given[f"{name}.{part}"] for part in ("weight", "bias"))
            self._take_conditions(source, weight, bias, kept[f"{name}.weight"], kept[f"{name}.bias"])
        return new

    def _take_conditions(
        self, source: LearnedCodec, weight: torch.Tensor, bias: torch.Tensor, our_weight: torch.Tensor, our_bias: torch.Tensor
    ) -> None:
        """The first layer of an attention module, of whose inputs the ratios that both know are taken."""
        count = condition_count(len(source.ratios), source.config.send_scale)
        ours = condition_count(len(self.ratios), self.config.send_scale)
        first = weight.shape[1] - count  # the SNR; before it the channels' averages
        ratios = [first + 1 + source.ratios.index(ratio) for ratio in self.ratios] if len(source.ratios) > 1 else []
        scale = [weight.shape[1] - 1] if self.config.send_scale else []
        averages = list(range(our_weight.shape[1] - ours))
        if len(self.ratios) > 1:
            our_weight.copy_(weight[:, [*averages, first, *ratios, *scale]])
        else:  # the only ratio is told nobody
            our_weight.copy_(weight[:, [*averages, first, *scale]])
            our_bias.copy_(bias + weight[:, ratios].sum(1))
