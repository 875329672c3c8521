"""One update of a codec that reconstructs pictures: encode, channel, decode, loss."""

from __future__ import annotations

import math

import torch
from torch import nn

from ...channels import Channel, Realisation, make_channel
from ...codec import Conditions
from ...errors import UsageError
from ...link import receive
from ...models import LearnedCodec
from ..batches import Batch
from ..draws import normals, uniforms
from ..losses import LOSSES
from ..recipe import Recipe
from ._base import Tensors, TrainingStep

STREAM_SNR, STREAM_RATE, STREAM_CHANNEL = 2, 3, 4


class ReconstructionStep(TrainingStep):
    """Pictures over a channel: per-image loss of `openjscc.training.losses.LOSSES`, SNR and ratio drawn per image."""

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__(recipe, network)
        assert isinstance(network, LearnedCodec)
        self.codec = network
        self.channel = make_channel(recipe.channel.name)
        self.loss = LOSSES[recipe.loss.kind]
        self.rates = rate_shares(recipe, network)

    def prepare(self, batch: Batch, step: int) -> Tensors:
        """Pictures ``(B, 3, H, W)``, SNR ``(B,)``, ratio ``(B,)``, noise and gain of the channel draw.

        The draw comes as its two tensors: Fabric converts what it finds in the arguments, and refuses frozen dataclasses.
        """
        snr_db, ratio, draw = draw_conditions(self.recipe, self.codec, self.channel, self.rates, batch.samples, batch.x)
        return batch.x, snr_db, ratio, draw.noise, draw.gain

    def forward(self, update: str, *tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
        x, snr_db, ratio, noise, gain = tensors
        assert x is not None
        assert snr_db is not None
        assert noise is not None
        return {"loss": self.loss(x, self.received(x, snr_db, ratio, noise, gain))}

    def received(
        self, x: torch.Tensor, snr_db: torch.Tensor, ratio: torch.Tensor | None, noise: torch.Tensor, gain: torch.Tensor | None
    ) -> torch.Tensor:
        """The received pictures ``(B, 3, H, W)``, not clipped."""
        frame = self.codec.encode(x, Conditions(snr_db=snr_db, ratio=ratio))
        arrived = self.channel.apply(frame, snr_db, Realisation(noise, gain))
        image = receive(self.codec, arrived, self.recipe.channel.equalizer).image
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
    snr_db = low + (high - low) * uniforms(seed, STREAM_SNR, index, 1)[:, 0]
    ratios = torch.tensor(codec.ratios, device=device)
    picks = uniforms(seed, STREAM_RATE, index, 1)[:, 0].contiguous()
    chosen = torch.searchsorted(rates.to(device), picks, right=True).clamp(max=len(ratios) - 1)
    height, width = x.shape[-2:]
    uses = codec.header.uses(height, width) + codec.payload_uses(height, width, len(ratios) - 1)
    realisation = channel.realise(normals(seed, STREAM_CHANNEL, index, channel.normal_count(uses)), uses)
    return snr_db, ratios[chosen], realisation
