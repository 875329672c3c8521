"""AR-JSCC: deep JSCC that decides from the image and the channel how much it sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import nn

from ..codec import Conditions, Frame, Received
from ..errors import UsageError, unknown_name
from ._base import CodecConfig, PolicyDraw, TrainingOutput
from ._registry import register
from .layers import GDN, Bottleneck, Downsample, Residual, ShortcutCodec, Stages, Upsample
from .layers.attention import pooled
from .layers.blocks import perceptron

FIRST_TEMPERATURE = 5.0
"""Of the paper's Gumbel-softmax."""


@dataclass(frozen=True)
class ARJSCCConfig(CodecConfig):
    """`CodecConfig` and the network; the defaults are the paper's. Group g of the selected features is what rate g + 1 sends
    beyond rate g.

    Attributes:
        network: ``paper``, or ``cifar10``, which is made for a CPU.
        channels: output channels of the source encoder's layers: three (``paper``) or one (``cifar10``).
        blocks: residual blocks before each of the two modulations in the channel encoder and in the channel decoder.
        modulation: hidden width of the modulations.
        policy: hidden width of the policy network.
    """

    network: Literal["paper", "cifar10"] = "paper"
    channels: tuple[int, ...] = (64, 128, 256)
    blocks: int = 1
    modulation: int = 256
    policy: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = {"paper": 3, "cifar10": 1}
        if self.network not in layers:
            raise unknown_name("network of arjscc", self.network, layers)
        if len(self.channels) != layers[self.network]:
            raise UsageError(f"channels {self.channels} of the network {self.network!r}", f"give {layers[self.network]}")


PAPER = ARJSCCConfig(rates=(8, 10, 12, 14, 16), agreed_size=(32, 32))
CIFAR10 = replace(PAPER, send_scale=True, network="cifar10", channels=(96,), blocks=2, modulation=24)
SMALL = replace(CIFAR10, channels=(64,), blocks=1)


@register("arjscc", default_tag="cifar10", configs={"paper": PAPER, "cifar10": CIFAR10, "small": SMALL})
class ARJSCC(ShortcutCodec):
    """AR-JSCC: a policy chooses for every image and SNR how many groups of features are sent.

    M. Yang, H.-S. Kim: Deep joint source-channel coding for wireless image transmission with adaptive rate control, IEEE
    Int. Conf. Acoustics, Speech and Signal Processing (ICASSP), 2022.

    ::

        x -[source encoder E_s]-> e_s -[channel encoder E_c]-> [g_n, g_s * m] --power--> channel --> z'
                                   |     ^SNR                           ^
                                   +----[policy P]-- one of G_s + 1 -- thermometer mask m
                                         ^SNR
        z' -[channel decoder D_c]-[source decoder D_s]-> x'
             ^SNR
        E_c = block, mod, block, mod, conv      D_c = conv, block, mod, block, mod
        mod = x * sigmoid(MLP([mean of x, SNR])) + MLP'([mean of x, SNR])

    Without a ratio the policy chooses, by its largest logit; `Conditions.ratio` overrules it. In training it draws
    (`forward_training`: Gumbel-softmax, straight-through), and among ratios ``(B,)`` a NaN leaves that image to the policy.

    Differences from the paper:

    * The number of groups reaches the receiver in the header, which is counted.
    * The receiver is told its own SNR (its noise variance), the transmitter the average one.
    * Zero padding in the convolutions. Where the paper is silent: docs/models/arjscc.md.
    * ``cifar10`` and ``small`` are made for a CPU: a sixteenth of the parameters or fewer, no batch statistics, residual
      bottleneck blocks, up-sampling by pixel shuffle, and a linear block transform beside the network (a 4x4 DCT at the start,
      then learned).
    """

    arch: ClassVar[str] = "arjscc"
    trained_as: ClassVar[str] = "arjscc"
    has_policy = True
    config: ARJSCCConfig

    def __init__(self, config: ARJSCCConfig) -> None:
        super().__init__(config)
        latent, width, paper = config.rates[-1], config.channels[-1], config.network == "paper"
        self.stride = 4
        conditions = config.condition_count(rate=False)
        if paper:
            c1, c2, c3 = config.channels
            self.source_encoder = Stages(
                Downsample(3, c1, 7, stride=1, bias=False), nn.BatchNorm2d(c1), nn.ReLU(),
                Downsample(c1, c2, 3, stride=2, bias=False), nn.BatchNorm2d(c2), nn.ReLU(),
                Downsample(c2, c3, 3, stride=2, bias=False), nn.BatchNorm2d(c3), nn.ReLU(),
            )  # fmt: skip
        else:
            self.source_encoder = Stages(Downsample(3, width, 7, stride=4), GDN(width))
        self.channel_encoder = Stages(
            *_blocks(config), Modulation(width, 1, config.modulation),
            *_blocks(config), Modulation(width, 1, config.modulation),
            Downsample(width, latent, 3, stride=1, bias=not paper),
            stride=4,
        )  # fmt: skip
        self.policy = RatePolicy(width, 1, config.policy, len(config.rates))
        self.channel_decoder = Stages(
            Downsample(latent, width, 3, stride=1, bias=not paper),
            *_blocks(config), Modulation(width, conditions, config.modulation),
            *_blocks(config), Modulation(width, conditions, config.modulation),
            stride=4,
        )  # fmt: skip
        if paper:
            c1, c2, c3 = config.channels
            self.source_decoder = Stages(
                Upsample(c3, c2, 3, stride=2, bias=False), nn.BatchNorm2d(c2), nn.ReLU(),
                Upsample(c2, c1, 3, stride=2, bias=False), nn.BatchNorm2d(c1), nn.ReLU(),
                Upsample(c1, 3, 5, stride=1),
                stride=4,
            )  # fmt: skip
        else:
            self.source_decoder = Stages(Upsample(width, 3, 3, stride=4, subpixel=True), stride=4)
            last = (next(layer.parameters()) for layer in (self.channel_encoder.last, self.source_decoder.last))
            self.add_shortcut(conditions, *last)

    def choose(
        self, x: torch.Tensor, snr_db: torch.Tensor, ratio: float | torch.Tensor | None, task: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        features, latent = self._encode(2 * x - 1, snr_db)
        if ratio is None:
            return latent, self.policy(features, self.told(snr_db)).argmax(1)
        return latent, self.rate_index(ratio, len(x), x.device)

    def forward_training(
        self, x: torch.Tensor, conditions: Conditions, channel: Callable[[Frame], Received], policy: PolicyDraw | None = None
    ) -> TrainingOutput:
        padded, snr_db = self._prepared(x, conditions)
        features, latent = self._encode(2 * padded - 1, snr_db)
        choice = self._drawn(features, snr_db, conditions.ratio, policy)
        selected = choice.mask.sum(1)
        frame = self._framed(latent, choice.index, x, conditions)
        arrived = self.arrived(channel(frame), frame.side)
        heard = self._straight_through(arrived.latent, arrived.scale, latent.float(), choice.mask)
        return TrainingOutput(self.reconstruct(arrived._replace(latent=heard), frame.side), arrived, selected)

    def analyse(self, x: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        return self._encode(2 * x - 1, snr_db)[1]

    def synthesise(self, latent: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        context = self.told(snr_db, scale=scale)
        y = self.source_decoder(self.channel_decoder(latent, context), context).float() + self.linear_image(latent, context)
        return ((torch.tanh(y) if self.config.network == "paper" else y) + 1) / 2

    def _encode(self, x: torch.Tensor, snr_db: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The source encoder's features and the latent, for images in [-1, 1]."""
        context = self.told(snr_db)
        features = self.source_encoder(x, context)
        return features, self.with_coefficients(self.channel_encoder(features, context), x)

    def _drawn(
        self, features: torch.Tensor, snr_db: torch.Tensor, ratio: float | torch.Tensor | None, policy: PolicyDraw | None
    ) -> Choice:
        """The choice in training: the ratio where one is given, else a draw of the policy."""
        batch, choices, device = len(features), len(self.config.rates), features.device
        logits = self.policy(features, self.told(snr_db))
        policy = policy or PolicyDraw(torch.rand(batch, choices, device=device), FIRST_TEMPERATURE)
        if policy.uniforms.shape != logits.shape:
            raise UsageError(
                f"policy draw of shape {tuple(policy.uniforms.shape)}", f"give {choices} numbers for each of {batch} images"
            )
        free = draw(logits, policy.uniforms.to(device), policy.temperature)
        if ratio is None:
            return free
        ratio = torch.as_tensor(ratio, device=device).expand(batch)
        open_ = ratio.isnan()
        forced = fixed(self.rate_index(torch.where(open_, self.ratios[0], ratio), batch, device), choices)
        return Choice(torch.where(open_, free.index, forced.index), torch.where(open_[:, None], free.mask, forced.mask))

    def _straight_through(
        self, received: torch.Tensor, scale: torch.Tensor, latent: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """``received`` unchanged, with the gradient that it would have if the mask could change a little.

        A group that is sent would arrive as it did, times its mask; one that is not sent would arrive without noise. What else is
        sent changes the power of the image's symbols, and so the noise relative to them.

        Args:
            received: ``(B, C, H, W)``, at the transmitter's scale where that is sent.
            scale: ``(B,)`` as in `synthesise`.
            latent: of the transmitter, before its power was normalised.
            mask: `Choice.mask`.
        """
        rates = self.config.rates
        sizes = torch.tensor(rates, device=mask.device).diff(prepend=torch.zeros(1, dtype=torch.int64, device=mask.device))
        weight = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1).repeat_interleave(sizes, dim=1)[:, :, None, None]
        latent = latent.detach()
        power = 2 * (weight * latent.square()).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) * latent[0, 0].numel())
        power = power.clamp(min=1e-12)[:, None, None, None]
        clean = latent * scale[:, None, None, None] * power.detach().rsqrt()
        arrived, sent = received.detach(), weight.detach()
        by_power = 0.5 * sent * ((arrived - clean) if self.config.send_scale else -clean)
        by_mask = torch.where(sent > 0, arrived, clean)
        return received + by_mask * (weight - sent) + by_power * (power.log() - power.detach().log())


class ResidualBlock(Residual):
    """Residual block of two 3x3 convolutions with batch normalisation (He et al., CVPR 2016), nothing after the sum.

    In training each process normalises by its own share of the batch (docs/models/arjscc.md).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )


def _blocks(config: ARJSCCConfig) -> list[Residual]:
    kind = ResidualBlock if config.network == "paper" else Bottleneck
    return [kind(config.channels[-1]) for _ in range(config.blocks)]


class Modulation(nn.Module):
    """x * sigmoid(MLP(context)) + MLP'(context), context = [global average of x, conditions]; two layers each, ReLU between.

    Args:
        channels: C.
        conditions: number of condition values (1 for the SNR alone).
        hidden: width between the two layers.

    Shapes: x ``(B, C, H, W)``, conditions ``(B, conditions)`` -> ``(B, C, H, W)``.
    """

    def __init__(self, channels: int, conditions: int, hidden: int) -> None:
        super().__init__()
        self.multiplier = perceptron(channels + conditions, hidden, channels)
        self.addend = perceptron(channels + conditions, hidden, channels)

    def scale_and_shift(self, x: torch.Tensor, conditions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and shift of every channel, ``(B, C, 1, 1)`` each."""
        context = pooled(x, conditions)
        scale, shift = torch.sigmoid(self.multiplier(context)), self.addend(context)
        return scale[:, :, None, None].to(x.dtype), shift[:, :, None, None].to(x.dtype)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        scale, shift = self.scale_and_shift(x, conditions)
        return x * scale + shift


@dataclass(frozen=True)
class Choice:
    """How many of G groups each image sends.

    Attributes:
        index: int64 ``(B,)``, 0 to G.
        mask: float32 ``(B, G)``, 1 for the groups that are sent; its gradient is that of the soft choice.
    """

    index: torch.Tensor
    mask: torch.Tensor


class RatePolicy(nn.Module):
    """[global average of the features, conditions] -> MLP -> one logit for each number of groups, 0 to G.

    Args:
        channels: of the features.
        conditions: number of condition values (1 for the SNR alone).
        hidden: width of the two hidden layers.
        choices: G + 1.

    Shapes: features ``(B, C, H, W)``, conditions ``(B, conditions)`` -> float32 ``(B, choices)``.
    """

    def __init__(self, channels: int, conditions: int, hidden: int, choices: int) -> None:
        super().__init__()
        self.layers = perceptron(channels + conditions, hidden, hidden, choices)

    def forward(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        return self.layers(pooled(features, conditions)).float()


def thermometer(choice: torch.Tensor) -> torch.Tensor:
    """Weights ``(B, G + 1)`` of the numbers 0 to G to weights ``(B, G)`` of the groups: the number n sends the first n."""
    return choice.flip(1).cumsum(1).flip(1)[:, 1:]


def fixed(index: torch.Tensor, choices: int) -> Choice:
    """The choice that somebody else made, int64 ``(B,)``: without any gradient."""
    return Choice(index, thermometer(nn.functional.one_hot(index, choices)).float())


def draw(logits: torch.Tensor, uniforms: torch.Tensor, temperature: float) -> Choice:
    """A random choice with probabilities softmax(logits), straight-through (E. Jang, S. Gu, B. Poole: Categorical
    reparameterization with Gumbel-softmax, ICLR 2017).

    Args:
        logits: float32 ``(B, G + 1)``.
        uniforms: as many independent numbers in [0, 1).
        temperature: of the soft choice whose gradient is taken.
    """
    inside = uniforms.clamp(2.0**-25, 1 - 2.0**-24)  # in single precision there is nothing between the latter and 1
    noisy = logits - (-inside.log()).log()
    index = noisy.argmax(1)
    soft = thermometer(torch.softmax(noisy / temperature, dim=1))
    return Choice(index, fixed(index, logits.shape[1]).mask + (soft - soft.detach()))
