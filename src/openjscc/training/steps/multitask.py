"""One update of a codec that serves two tasks: pictures, and what is where in them (MTGSC)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ...channels import Realisation
from ...classes import VOID
from ...codec import Conditions
from ...data.datasets import PictureDataset
from ...data.masks import masks_of
from ...errors import UsageError
from ...link import receive
from ...models.mtgsc import MTGSC
from ..batches import Batch, Maps
from ..draws import normals, uniforms
from ..losses import segmentation_loss
from ..recipe import Recipe
from ._base import Tensors
from .reconstruction import ReconstructionStep

STREAM_TIME, STREAM_STATE, STREAM_SECOND = 11, 12, 13


class MultitaskStep(ReconstructionStep):
    """`ReconstructionStep`, where the state of the decoder lies somewhere between picture and start, and for pictures with a mask
    also the transmission for a segmentation (`openjscc.training.sections.MultitaskSection`)."""

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__(recipe, network)
        if not isinstance(network, MTGSC):
            raise UsageError(f"step multitask with the architecture {recipe.model.arch}", "it trains mtgsc")
        self.two_tasks = network
        self.section = recipe.multitask

    def attach(self, datasets: Sequence[PictureDataset], device: torch.device) -> Sequence[Maps] | None:
        super().attach(datasets, device)
        if "segmentation" not in self.section.tasks:
            return None
        maps = [masks_of(dataset) if dataset.masks is not None else _Unknown(dataset) for dataset in datasets]
        if all(isinstance(each, _Unknown) for each in maps):
            raise UsageError(
                f"none of the training data {list(self.recipe.data.train)} has masks",
                'add voc to data.train, or train one task: multitask.tasks = ["reconstruction"]',
            )
        return maps

    def scales(self, dataset: PictureDataset) -> bool:
        """Those with masks: what is sent as a picture only is sent as it is, as in the recipes of other codecs for pictures."""
        return dataset.masks is not None

    def prepare(self, batch: Batch, step: int) -> Tensors:
        """What `ReconstructionStep` prepares, the time ``(B,)``, the state's noise or None, and the second channel draw."""
        tensors = super().prepare(batch, step)
        seed, x = self.recipe.run.seed, batch.x
        index = torch.tensor(list(batch.samples), device=x.device)
        place, kind = uniforms(seed, STREAM_TIME, index, 2).unbind(1)
        time = torch.where(kind < self.section.start_share, torch.ones_like(place), place)
        noise = None
        if self.two_tasks.config.state == "noise":
            stride, (height, width) = self.two_tasks.stride, x.shape[-2:]
            shape = (3, -(-height // stride) * stride, -(-width // stride) * stride)
            noise = normals(seed, STREAM_STATE, index, shape[0] * shape[1] * shape[2]).unflatten(1, shape)
        uses = self._uses(x)
        draw = self.channel.realise(normals(seed, STREAM_SECOND, index, self.channel.normal_count(uses)), uses)
        return *tensors, time, noise, draw.noise, draw.gain

    def forward(self, update: str, *tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
        *first, time, noise, second_noise, second_gain = tensors
        x, snr_db, masks = first[0], first[1], first[-1]
        assert x is not None
        assert snr_db is not None
        values: dict[str, torch.Tensor] = {}
        loss = torch.zeros(len(x), device=x.device)
        if "reconstruction" in self.section.tasks:
            self.two_tasks.progress, self.two_tasks.noise = time, noise
            values = super().forward(update, *first)
            loss = values.pop("loss")
            self.two_tasks.progress = self.two_tasks.noise = None
        if masks is not None:
            assert second_noise is not None
            known = (masks != VOID).flatten(1).any(1)
            crossentropy = self._segmentation(x, snr_db, second_noise, second_gain, masks, known)
            shared = crossentropy * (len(known) / known.sum().clamp(min=1))  # the batch's mean is that over the known ones
            loss = loss + self.section.segmentation_weight * shared
            values |= {"segmentation": shared}
        return {"loss": loss} | values

    def _segmentation(
        self, x: torch.Tensor, snr_db: torch.Tensor, noise: torch.Tensor, gain: torch.Tensor | None, masks: torch.Tensor,
        known: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Cross-entropy ``(B,)`` of the received segmentations, 0 where no pixel's class is known. Only the others are sent."""
        rows = known.nonzero()[:, 0]
        if not len(rows):
            return torch.zeros(len(x), device=x.device)
        frame = self.codec.encode(x[rows], Conditions(snr_db=snr_db[rows], task="segmentation"))
        draw = Realisation(noise[rows], None if gain is None else gain[rows])
        scores = receive(self.codec, self.channel.apply(frame, snr_db[rows], draw), self.recipe.channel.equalizer).segmentation
        assert scores is not None
        values = segmentation_loss(scores, masks[rows][:, 0])
        return torch.zeros(len(x), device=x.device).index_put((rows,), values)

    def _uses(self, x: torch.Tensor) -> int:
        height, width = x.shape[-2:]
        return self.codec.header.uses(height, width) + self.codec.payload_uses(
            height, width, self.two_tasks.config.segmentation_rate
        )


class _Unknown:
    """Masks of pictures of which nothing is known."""

    def __init__(self, dataset: PictureDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((1, *self._dataset.shared(index).shape[1:]), VOID, dtype=torch.uint8)
