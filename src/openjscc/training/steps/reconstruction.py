"""One update of a codec that reconstructs pictures: encode, channel, decode, loss."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ...channels import Channel, Realisation, make_channel
from ...codec import Conditions
from ...errors import UsageError
from ...link import receive
from ...models import LearnedCodec
from ..batches import Batch
from ..draws import normals, uniforms
from ..losses import LOSSES, mean_squared_error
from ..recipe import Recipe
from ._base import Tensors, TrainingStep

STREAM_SNR, STREAM_RATE, STREAM_CHANNEL, STREAM_POLICY = 2, 3, 4, 5


class ReconstructionStep(TrainingStep):
    """Pictures over a channel: SNR and ratio drawn per image, distortion and rate weighed against each other.

    Where the codec decides its own rate (AR-JSCC), ``rate.policy_share`` of the images leave it to the policy, whose Gumbel
    noise is drawn here, and the number of selected groups is added to their distortion.
    """

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__(recipe, network)
        assert isinstance(network, LearnedCodec)
        self.codec = network
        self.channel = make_channel(recipe.channel.name)
        self.loss = LOSSES[recipe.loss.kind]
        self.rates = rate_shares(recipe, network)
        self.adaptive: Any = network if network.has_policy else None

    def prepare(self, batch: Batch, step: int) -> Tensors:
        """Pictures ``(B, 3, H, W)``, SNR ``(B,)``, ratio ``(B,)`` (NaN: left to the policy), noise and gain of the channel draw,
        the policy's draw ``(B, choices)`` or None, maps or None.

        The channel draw comes as its two tensors: Fabric converts what it finds in the arguments, and refuses frozen dataclasses.
        """
        recipe, x = self.recipe, batch.x
        snr_db, ratio, draw = draw_conditions(recipe, self.codec, self.channel, self.rates, batch.samples, x)
        policy = None
        if self.adaptive is not None:
            index = torch.tensor(list(batch.samples), device=x.device)
            policy = uniforms(recipe.run.seed, STREAM_POLICY, index, len(self.codec.ratios) + 1)
            ratio = torch.where(policy[:, -1] < recipe.rate.policy_share, torch.nan, ratio)
            policy = policy[:, :-1]
            self.adaptive.temperature = recipe.rate.temperature_at(batch.samples.start / max(self.pictures, 1))
        return x, snr_db, ratio, draw.noise, draw.gain, policy, batch.maps

    def forward(self, update: str, *tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
        x, snr_db, ratio, noise, gain, policy, maps = tensors
        assert x is not None
        assert snr_db is not None
        assert noise is not None
        if self.adaptive is not None:
            self.adaptive.policy_draw = policy
        distortion, values = self.distortion(x, self.received(x, snr_db, ratio, noise, gain), maps)
        if self.adaptive is not None:
            left = ratio.isnan() if ratio is not None else torch.ones_like(distortion, dtype=torch.bool)
            assert self.adaptive.selected is not None
            selected = torch.where(left, self.adaptive.selected, 0.0)
            distortion = distortion + self.recipe.rate.weight * selected
            values |= {"selected": selected * (len(left) / left.sum().clamp(min=1))}
        return {"loss": self.loss(distortion)} | values

    def distortion(
        self, x: torch.Tensor, y: torch.Tensor, maps: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Distortion per image ``(B,)`` of the received ``y``, and further values ``(B,)`` for the log."""
        return mean_squared_error(x, y), {}

    def received(
        self, x: torch.Tensor, snr_db: torch.Tensor, ratio: torch.Tensor | None, noise: torch.Tensor, gain: torch.Tensor | None
    ) -> torch.Tensor:
        """The received pictures ``(B, 3, H, W)``, not clipped."""
        frame = self.codec.encode(x, Conditions(snr_db=snr_db, ratio=ratio))
        arrived = self.channel.apply(frame, snr_db, Realisation(noise, gain))
        image = receive(self.codec, arrived, self.recipe.channel.equalizer, frame.side).image
        assert image is not None
        return image


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
