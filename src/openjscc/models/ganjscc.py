"""Perceptual deep JSCC: the decoder is a generator, trained on what people see.

Its parts are those of F. Mentzer, G. Toderici, M. Tschannen, E. Agustsson: High-fidelity generative image compression, NeurIPS
2020 (HiFiC).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import UsageError
from ..units import format_ratio
from ._base import LearnedCodec
from ._registry import register
from .adjscc import ADJSCC, ADJSCCConfig, photo_encoder
from .deepjscc import Network
from .layers import GDN, ChannelAttention, Downsample, Residual, Stages, Upsample, bottlenecks


@dataclass(frozen=True)
class GANJSCCConfig(ADJSCCConfig):
    """`ADJSCCConfig`; the defaults are the paper's.

    Attributes:
        trunk: `GeneratorBlock` s that the decoder has after every layer but the last, in the encoder's order; empty: none.
        trunk_width: channels inside these blocks; 0: as many as outside.
    """

    rates: tuple[int, ...] = (2,)
    default_rate: int = 0
    channels: tuple[int, ...] = (64, 128, 256)
    trunk: tuple[int, ...] = (0, 0, 9)
    trunk_width: int = 0


class ChannelNorm(nn.Module):
    """y_c = gamma_c (x_c - mu) / sqrt(sigma^2 + 1e-3) + beta_c, mean and variance over the channels at each position.

    What a position becomes depends on that position alone: not on the size of the image, and not on the batch.

    Args:
        channels: C of the ``(B, C, H, W)`` input.
    """

    pointwise = True  # see `tiling.reach`
    EPSILON = 1e-3

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x.movedim(1, -1), self.gamma.shape, self.gamma, self.beta, self.EPSILON).movedim(-1, 1)

    def extra_repr(self) -> str:
        return str(self.gamma.numel())


class GeneratorBlock(Residual):
    """x + ChannelNorm(conv(ReLU(ChannelNorm(conv(x))))), convolutions of 3x3. At the start it changes nothing: the last gamma
    is 0.

    Args:
        channels: C of input and output.
        hidden: channels between the convolutions.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        last = ChannelNorm(channels)
        nn.init.zeros_(last.gamma)
        super().__init__(
            nn.Conv2d(channels, hidden, 3, padding=1),
            ChannelNorm(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 3, padding=1),
            last,
        )


def trunk(config: GANJSCCConfig, layer: int) -> list[GeneratorBlock]:
    """The generator blocks of one of three layers."""
    channels, count = config.channels[layer], config.sizes("trunk", 3)[layer]
    return [GeneratorBlock(channels, config.trunk_width or channels) for _ in range(count)]


def paper(config: GANJSCCConfig, conditions: int) -> Network:
    """Wang et al., 2022."""
    c1, c2, c3 = config.sizes("channels", 3)
    latent = config.rates[-1]
    encoder = Stages(
        Downsample(3, c1, 7, stride=1), ChannelNorm(c1), nn.ReLU(), ChannelAttention(c1, conditions),
        Downsample(c1, c2, 3, stride=2), ChannelNorm(c2), nn.ReLU(), ChannelAttention(c2, conditions),
        Downsample(c2, c3, 3, stride=2), ChannelNorm(c3), nn.ReLU(), ChannelAttention(c3, conditions),
        Downsample(c3, latent, 3, stride=1),
    )  # fmt: skip
    decoder = Stages(
        Upsample(latent, c3, 3, stride=1), ChannelNorm(c3), nn.ReLU(), *trunk(config, 2), ChannelAttention(c3, conditions),
        Upsample(c3, c2, 3, stride=2), ChannelNorm(c2), nn.ReLU(), *trunk(config, 1), ChannelAttention(c2, conditions),
        Upsample(c2, c1, 3, stride=2), ChannelNorm(c1), nn.ReLU(), *trunk(config, 0), ChannelAttention(c1, conditions),
        Upsample(c1, 3, 7, stride=1),
        stride=4,
    )  # fmt: skip
    return Network(encoder, decoder, linear=True)


def photo(config: GANJSCCConfig, conditions: int) -> Network:
    """As ADJSCC's of that name, with a trunk in the decoder."""
    c1, c2, c3 = config.sizes("channels", 3)
    b1, b2, b3 = config.sizes("blocks", 3)
    encoder = photo_encoder(config, conditions)
    decoder = Stages(
        Upsample(config.rates[-1], c3, 3, stride=1),
        GDN(c3, inverse=True), *bottlenecks(c3, b3), *trunk(config, 2), ChannelAttention(c3, conditions),
        Upsample(c3, c2, 1, stride=2, subpixel=True),
        GDN(c2, inverse=True), *bottlenecks(c2, b2), *trunk(config, 1), ChannelAttention(c2, conditions),
        Upsample(c2, c1, 1, stride=2, subpixel=True),
        GDN(c1, inverse=True), *bottlenecks(c1, b1), *trunk(config, 0),
        Upsample(c1, 3, 5, stride=2, subpixel=True),
        stride=8,
    )  # fmt: skip
    return Network(encoder, decoder, linear=True, shortcut=True, block_hidden=32)  # 32 as adjscc.photo


PHOTO = GANJSCCConfig(
    rates=(8, 16, 32), send_scale=True, network="photo",
    channels=(48, 128, 192), blocks=(0, 2, 3), trunk=(0, 2, 7), trunk_width=60,
)  # fmt: skip
SMALL = GANJSCCConfig(
    rates=(8,), send_scale=True, network="photo",
    channels=(32, 64, 96), blocks=(0, 1, 2), trunk=(0, 0, 2), trunk_width=48,
)  # fmt: skip


@register("ganjscc", default_tag="photo", configs={"paper": GANJSCCConfig(), "photo": PHOTO, "small": SMALL})
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
    NETWORKS: ClassVar[Mapping[str, Callable[..., Network]]] = {"paper": paper, "photo": photo}
    config: GANJSCCConfig

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
        same = ("network", "channels", "blocks", "send_scale", "snr_range")
        if type(source) is not ADJSCC or any(getattr(source.config, key) != getattr(self.config, key) for key in same):
            raise UsageError(
                f"{source.name} is another network than {self.name}", f"it can start from an ADJSCC with equal {', '.join(same)}"
            )
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
        count = source.config.condition_count()
        ours = self.config.condition_count()
        first = weight.shape[1] - count  # the SNR; before it the channels' averages
        ratios = [first + 1 + source.ratios.index(ratio) for ratio in self.ratios] if len(source.ratios) > 1 else []
        scale = [weight.shape[1] - 1] if self.config.send_scale else []
        averages = list(range(our_weight.shape[1] - ours))
        if len(self.ratios) > 1:
            our_weight.copy_(weight[:, [*averages, first, *ratios, *scale]])
        else:  # a codec with one ratio has no input for it
            our_weight.copy_(weight[:, [*averages, first, *scale]])
            our_bias.copy_(bias + weight[:, ratios].sum(1))
