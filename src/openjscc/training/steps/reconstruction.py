"""One update of a codec that reconstructs pictures: encode, channel, decode, loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ...channels import Channel, Realisation, equalize, make_channel
from ...codec import Conditions, Frame, Received
from ...errors import UsageError
from ...models import LearnedCodec, PolicyDraw, TrainingOutput
from ..batches import Batch
from ..draws import normals, uniforms
from ..losses import LOSSES, mean_squared_error
from ..recipe import Recipe
from ._base import StepInput, TrainingStep

STREAM_SNR, STREAM_RATE, STREAM_CHANNEL, STREAM_POLICY = 2, 3, 4, 5


@dataclass(frozen=True, kw_only=True)
class ReconstructionInput(StepInput):
    """`StepInput`, and one transmission.

    Attributes:
        snr_db: ``(B,)``.
        ratio: ``(B,)``; NaN: left to the policy.
        noise: of the channel draw.
        gain: of the channel draw; None: no fading.
        policy: uniforms ``(B, rates)`` of the policy's draw; None: the codec has no policy.
        temperature: of the policy's soft choice.
        maps: ``(B, C, H, W)``, what the data has of every pixel; None: nothing.
    """

    snr_db: torch.Tensor
    ratio: torch.Tensor
    noise: torch.Tensor
    gain: torch.Tensor | None
    policy: torch.Tensor | None = None
    temperature: float = 1.0
    maps: torch.Tensor | None = None


class ReconstructionStep(TrainingStep):
    """Images over a channel: SNR and ratio drawn per image, distortion and rate weighed against each other.

    Where the codec decides its own rate (AR-JSCC), ``rate.policy_share`` of the images leave it to the policy, whose Gumbel
    noise is drawn here, and the number of selected groups is added to their distortion.
    """

    inputs = ReconstructionInput

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__(recipe, network)
        assert isinstance(network, LearnedCodec)
        self.codec = network
        self.channel = make_channel(recipe.channel.name)
        self.loss = LOSSES[recipe.loss.kind]
        self.rates = rate_shares(recipe, network)

    def prepare(self, batch: Batch, step: int) -> ReconstructionInput:
        recipe, x = self.recipe, batch.x
        snr_db, ratio, draw = draw_conditions(recipe, self.codec, self.channel, self.rates, batch.samples, x)
        policy = None
        if self.codec.has_policy:
            index = torch.tensor(list(batch.samples), device=x.device)
            policy = uniforms(recipe.run.seed, STREAM_POLICY, index, len(self.codec.ratios) + 1)
            ratio = torch.where(policy[:, -1] < recipe.rate.policy_share, torch.nan, ratio)
            policy = policy[:, :-1]
        return ReconstructionInput(
            x=x, snr_db=snr_db, ratio=ratio, noise=draw.noise, gain=draw.gain, policy=policy, maps=batch.maps,
            temperature=recipe.rate.temperature_at(batch.samples.start / max(self.pictures, 1)),
        )  # fmt: skip

    def losses(self, update: str, given: StepInput) -> dict[str, torch.Tensor]:
        assert isinstance(given, ReconstructionInput)
        output = self.transmitted(given)
        assert output.reconstruction.image is not None
        distortion, values = self.distortion(given.x, output.reconstruction.image, given.maps)
        if output.selected is not None:
            left = given.ratio.isnan()
            selected = torch.where(left, output.selected, 0.0)
            distortion = distortion + self.recipe.rate.weight * selected
            values |= {"selected": selected * (len(left) / left.sum().clamp(min=1))}
        return {"loss": self.loss(distortion)} | values

    def distortion(
        self, x: torch.Tensor, y: torch.Tensor, maps: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Distortion per image ``(B,)`` of the received ``y``, and further values ``(B,)`` for the log."""
        return mean_squared_error(x, y), {}

    def transmitted(self, given: ReconstructionInput) -> TrainingOutput:
        """One transmission of the images; what came out is not clipped."""
        policy = None if given.policy is None else PolicyDraw(given.policy, given.temperature)
        return self.codec.forward_training(given.x, Conditions(given.snr_db, given.ratio), self.passage(given), policy)

    def passage(self, given: ReconstructionInput) -> Callable[[Frame], Received]:
        """What lies between encoder and decoder in this update."""
        draw = Realisation(given.noise, given.gain)
        return passage(self.codec, self.channel, self.recipe.channel.equalizer, given.snr_db, draw)


def passage(
    codec: LearnedCodec, channel: Channel, equalizer: str, snr_db: torch.Tensor, draw: Realisation
) -> Callable[[Frame], Received]:
    """What lies between encoder and decoder: the channel, and equalisation where the codec leaves that to the link."""

    def passed(frame: Frame) -> Received:
        received = channel.apply(frame, snr_db, draw)
        return received if codec.uses_gain else equalize(received, equalizer)

    return passed


def rate_shares(recipe: Recipe, codec: LearnedCodec) -> torch.Tensor:
    """How often each rate is drawn, summed up: ``(rates,)``, the last one 1.

    Raises:
        UsageError: for ``loss.rate_weights`` that do not fit the codec.
    """
    weights = torch.tensor(recipe.loss.rate_weights or [1.0] * len(codec.ratios))
    if len(weights) != len(codec.ratios) or not bool((weights >= 0).all()) or not 0 < float(weights.sum()) < math.inf:
        raise UsageError(
            f"loss.rate_weights {list(recipe.loss.rate_weights)}", f"give {len(codec.ratios)} weights >= 0, one a rate, not all 0"
        )
    return weights.cumsum(0) / weights.sum()


def draw_conditions(
    recipe: Recipe, codec: LearnedCodec, channel: Channel, rates: torch.Tensor, samples: range, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, Realisation]:
    """SNR ``(B,)``, bandwidth ratio ``(B,)`` and channel draw of these global samples, each image its own.

    ``rates`` as `rate_shares` gives it.
    """
    seed, device = recipe.run.seed, x.device
    index = torch.tensor(list(samples), device=device)
    low, high = recipe.channel.snr_db
    place, levels = uniforms(seed, STREAM_SNR, index, 1)[:, 0], recipe.channel.levels
    if levels:
        place = (place * levels).floor() / max(levels - 1, 1)
    snr_db = low + (high - low) * place
    ratios = torch.tensor(codec.ratios, device=device)
    picks = uniforms(seed, STREAM_RATE, index, 1)[:, 0].contiguous()
    chosen = torch.searchsorted(rates.to(device), picks, right=True).clamp(max=len(ratios) - 1)
    height, width = x.shape[-2:]
    uses = codec.header.uses(height, width, low) + codec.payload_uses(height, width, len(ratios) - 1)
    realisation = channel.realise(normals(seed, STREAM_CHANNEL, index, channel.normal_count(uses)), uses)
    return snr_db, ratios[chosen], realisation
