"""WITT: deep JSCC whose encoder and decoder are Swin Transformers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from ..errors import UsageError
from ._base import CodecConfig
from ._registry import register
from .layers import ShortcutCodec
from .layers.blocks import perceptron
from .layers.swin import PatchEmbedding, PatchMerging, SwinStage, start


@dataclass(frozen=True)
class WITTConfig(CodecConfig):
    """`CodecConfig` and the networks; the defaults are the paper's for images of high resolution.

    Attributes:
        patch: pixels along a side that become one vector; every further stage halves the sides.
        channels: of every stage of the encoder; the decoder mirrors them.
        depths: blocks of every stage.
        heads: of the attention in every stage.
        window: positions along the side of an attention window.
        expansion: hidden width of the blocks' MLP, over their channels.
        modulation: steps of each Channel ModNet; 0: none, the networks are not told the SNR.
        modulation_width: its hidden width, over the channels.
        modulator: hidden width of what turns the SNR into a step's weights; 0: as wide as the step.
        shortcut: a linear block transform beside encoder and decoder (`openjscc.models.layers.shortcut`).
    """

    rates: tuple[int, ...] = (96,)
    snr_range: tuple[float, float] = (1.0, 13.0)
    patch: int = 2
    channels: tuple[int, ...] = (128, 192, 256, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (4, 6, 8, 10)
    window: int = 8
    expansion: int = 4
    modulation: int = 7
    modulation_width: float = 1.5
    modulator: int = 0
    shortcut: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.channels or any(len(values) != len(self.channels) for values in (self.depths, self.heads)):
            raise UsageError(f"channels {self.channels}", "give a depth and a number of heads for each")
        if any(channels % heads for channels, heads in zip(self.channels, self.heads, strict=True)):
            raise UsageError(f"channels {self.channels} for heads {self.heads}", "give multiples of the number of heads")

    @property
    def stride(self) -> int:
        """Pixels per latent position."""
        return self.patch * 2 ** (len(self.channels) - 1)


PAPER = WITTConfig()
PHOTO = WITTConfig(
    rates=(8, 16, 24, 32, 64),
    snr_range=(0.0, 20.0),
    send_scale=True,
    patch=4,
    channels=(64, 112),
    depths=(2, 4),
    heads=(4, 7),
    modulation=3,
    modulation_width=1.0,
    modulator=16,
    shortcut=True,
)


@register(
    "witt",
    default_tag="photo",
    configs={"paper": PAPER, "paper-no-modnet": replace(PAPER, modulation=0), "photo": PHOTO},
)
class WITT(ShortcutCodec):
    """WITT: Swin Transformers on both sides, and modules that weigh the features by the SNR.

    K. Yang, S. Wang, J. Dai, K. Tan, K. Niu, P. Zhang: WITT: A wireless image transmission transformer for semantic
    communications, IEEE Int. Conf. Acoustics, Speech and Signal Processing (ICASSP), 2023.

    ::

        x --[embed]-[Swin x N1]-[merge]-[Swin x N2]--...--[LN]-[ModNet]-[FC]--> z --power--> channel --> z'
                                                             ^SNR
        z' --[FC]-[ModNet]-[Swin x N4]-[divide]--...--[Swin x N1]-[divide]--> x'
                    ^SNR
        Swin = attention within windows, MLP; every second one shifted by half a window
        ModNet = x * sigmoid(FC(...FC(FC(x) * w_1) * w_2...)), w_i = sigmoid(MLP_i(SNR))

    >>> from openjscc.codec import Conditions
    >>> codec = WITT(PHOTO).eval()
    >>> frame = codec.encode(torch.rand(1, 3, 100, 75), Conditions(torch.tensor([10.0]), ratio=1 / 16))
    >>> int(frame.length[0])  # 12 symbols for each of 13 x 10 positions, and a header of 124
    1684

    Differences from the paper:

    * The receiver is told its own SNR (its noise variance), the transmitter the average one, both scaled to [-1, 1].
    * Power is normalised per image, and the receiver is not told the factor unless the header carries it (``photo``: 10 bits,
      counted). The authors' code normalises over the batch and gives the receiver the factor.
    * Any image size: windows at the border are smaller, padding is never attended to.
    * ``photo``, made for a CPU, has two stages at 1/4 and 1/8 of the image's size, smaller ModNets, five bandwidth ratios in
      one weight (it sends the first latent channels only, and the ModNets are told the ratio), and a linear block transform
      beside the network (an 8x8 DCT at the start, then learned). docs/models/witt.md has the rest.
    """

    arch: ClassVar[str] = "witt"
    config: WITTConfig

    def __init__(self, config: WITTConfig) -> None:
        super().__init__(config)
        self.stride = config.stride
        conditions = config.condition_count()
        self.encoder = Encoder(config, config.condition_count(scale=False))
        self.decoder = Decoder(config, conditions)
        if config.shortcut:
            last = self.decoder.up[-1].expansion.weight  # pyright: ignore[reportAttributeAccessIssue]
            self.add_shortcut(conditions, self.encoder.head.weight, last)  # pyright: ignore[reportArgumentType]

    def analyse(self, x: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        x = 2 * x - 1 if self.config.shortcut else x
        return self.with_coefficients(self.encoder(x, self.told(snr_db, rate)), x)

    def synthesise(self, latent: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        context = self.told(snr_db, rate, scale)
        y = self.decoder(latent, context).float() + self.linear_image(latent, context)
        return (y + 1) / 2 if self.config.shortcut else y


class Encoder(nn.Module):
    """Image ``(B, 3, H, W)`` and conditions to the latent ``(B, C, H/stride, W/stride)``."""

    def __init__(self, config: WITTConfig, conditions: int) -> None:
        super().__init__()
        channels = config.channels
        self.embedding = PatchEmbedding(3, channels[0], config.patch)
        self.down = nn.ModuleList(PatchMerging(*pair) for pair in itertools.pairwise(channels))
        self.stages = _stages(config)
        self.norm = nn.LayerNorm(channels[-1])
        self.head = nn.Linear(channels[-1], config.rates[-1])
        self.apply(start)
        self.modulation = _mod_net(config, conditions)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        x = self.embedding(x)
        for index, stage in enumerate(self.stages):
            x = self.down[index - 1](x) if index else x
            x = stage(x)
        x = self.norm(x)
        x = x if self.modulation is None else self.modulation(x, conditions)
        return self.head(x).movedim(-1, 1)


class Decoder(nn.Module):
    """The way back from `Encoder`."""

    def __init__(self, config: WITTConfig, conditions: int) -> None:
        super().__init__()
        widths = (*config.channels[::-1], 3)
        self.head = nn.Linear(config.rates[-1], widths[0])
        self.stages = _stages(config)[::-1]
        self.up = nn.ModuleList(
            PatchDivision(width, out, 2 if index < len(widths) - 2 else config.patch)
            for index, (width, out) in enumerate(itertools.pairwise(widths))
        )
        self.apply(start)
        self.modulation = _mod_net(config, conditions)

    def forward(self, latent: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        x = self.head(latent.movedim(1, -1))
        x = x if self.modulation is None else self.modulation(x, conditions)
        for stage, up in zip(self.stages, self.up, strict=True):
            x = up(stage(x))
        return x.movedim(-1, 1)


class PatchDivision(nn.Module):
    """The way back: ``(B, H, W, C)`` -> ``(B, factor*H, factor*W, out)``, by LN, a linear layer and a pixel shuffle."""

    def __init__(self, channels: int, out: int, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor
        self.norm = nn.LayerNorm(channels)
        self.expansion = nn.Linear(channels, factor * factor * out, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.expansion(self.norm(x)).unflatten(-1, (self.factor, self.factor, -1))
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


class ModNet(nn.Module):
    """Channel ModNet: x * sigmoid(FC(...FC(FC(x) * w_1) * w_2...)), with w_i = sigmoid(MLP_i(conditions)) of three layers.

    As in the authors' code no gradient goes back to x through its weights.

    Args:
        channels: of x.
        conditions: number of condition values (1 for the SNR alone).
        steps: how many w there are.
        width: of the steps.
        modulator: hidden width of the MLPs.

    Shapes: x ``(B, H, W, C)``, conditions ``(B, conditions)`` -> ``(B, H, W, C)``.
    """

    def __init__(self, channels: int, conditions: int, steps: int, width: int, modulator: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(nn.Linear(width if i else channels, width) for i in range(steps))
        self.modulators = nn.ModuleList(perceptron(conditions, modulator, modulator, width) for _ in range(steps))
        self.last = nn.Linear(width, channels)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        y = x.detach()
        for step, modulator in zip(self.steps, self.modulators, strict=True):
            y = step(y) * torch.sigmoid(modulator(conditions))[:, None, None, :].to(x.dtype)
        return x * torch.sigmoid(self.last(y))


def _stages(config: WITTConfig) -> nn.ModuleList:
    shapes = zip(config.channels, config.depths, config.heads, strict=True)
    return nn.ModuleList(SwinStage(*shape, config.window, config.expansion) for shape in shapes)


def _mod_net(config: WITTConfig, conditions: int) -> ModNet | None:
    if not config.modulation:
        return None
    width = int(config.channels[-1] * config.modulation_width)
    return ModNet(config.channels[-1], conditions, config.modulation, width, config.modulator or width)
