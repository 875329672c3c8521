"""One update of a codec that serves two tasks: images, and what is where in them (MTGSC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from ...classes import VOID
from ...codec import Conditions
from ...data.datasets import PictureDataset, open_dataset
from ...data.masks import masks_of
from ...errors import UsageError
from ...models import TrainingOutput
from ...models.mtgsc import MTGSC
from ..batches import Batch, Maps
from ..draws import normals, uniforms
from ..losses import segmentation_loss
from ..progress import Validation
from ..recipe import Recipe
from ._base import StepInput
from .reconstruction import ReconstructionInput, ReconstructionStep
from .segmentation import SEGMENTATION, SegmentationValidation

RECONSTRUCTION = "reconstruction"
MASKS_SEEN = 100
"""Images that a validation segments: those of the recipes of networks for segmentations alone."""

STREAM_TIME, STREAM_STATE, STREAM_SECOND = 11, 12, 13


@dataclass(frozen=True, kw_only=True)
class MultitaskInput(ReconstructionInput):
    """`ReconstructionInput` with masks as maps, the state of the decoder, and the transmission for a segmentation.

    Attributes:
        time: ``(B,)``, where the state lies between image (0) and start (1).
        state_noise: ``(B, 3, H, W)``, of the state; None: it needs none.
        second_noise: of the second channel draw.
        second_gain: of the second channel draw; None: no fading.
    """

    time: torch.Tensor
    state_noise: torch.Tensor | None
    second_noise: torch.Tensor
    second_gain: torch.Tensor | None


class MultitaskStep(ReconstructionStep):
    """`ReconstructionStep`, where the state of the decoder lies somewhere between image and start, and the transmission of
    crops with masks for a segmentation (`openjscc.training.sections.MultitaskSection`).

    What a task's crops lose is weighed by the share of the training images that it has, not of the batch: so the gradient is
    that of one objective, whatever a batch, or a process's part of it, happens to hold.

    Attributes:
        shares: of the training images that a task is trained on.
    """

    leaves_unused = True
    inputs = MultitaskInput

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__(recipe, network)
        if not isinstance(network, MTGSC):
            raise UsageError(f"step multitask with the architecture {recipe.model.arch}", "it trains mtgsc")
        self.two_tasks = network
        self.section = recipe.multitask
        self.shares = dict.fromkeys((RECONSTRUCTION, SEGMENTATION), 1.0)

    def attach(self, datasets: Sequence[PictureDataset], device: torch.device) -> Sequence[Maps] | None:
        super().attach(datasets, device)
        if SEGMENTATION not in self.section.tasks:
            return None
        maps = [masks_of(dataset) if dataset.masks is not None else _Unknown(dataset) for dataset in datasets]
        if all(isinstance(each, _Unknown) for each in maps):
            raise UsageError(
                f"none of the training data {list(self.recipe.data.train)} has masks",
                'add voc to data.train, or train one task: multitask.tasks = ["reconstruction"]',
            )
        both = RECONSTRUCTION in self.section.tasks and not self.section.masked_pictures
        if both and not any(isinstance(each, _Unknown) for each in maps):
            raise UsageError(
                f"all training data {list(self.recipe.data.train)} has masks: none of it is sent as a picture",
                "add photographs to data.train, or --set multitask.masked_pictures=true",
            )
        without = [each.name for each in datasets if each.masks is None]
        if without and RECONSTRUCTION not in self.section.tasks:
            raise UsageError(
                f"only segmentations are learned, and {', '.join(without)} has no masks",
                "leave it out of data.train, or train both tasks",
            )
        masked = sum(len(each) for each in datasets if each.masks is not None) / sum(len(each) for each in datasets)
        self.shares = {RECONSTRUCTION: 1 - masked if both else 1.0, SEGMENTATION: masked}
        return maps

    def scales(self, dataset: PictureDataset) -> bool:
        """Those with masks: what is sent as an image only is sent as it is, as in the recipes of other codecs for images."""
        return dataset.masks is not None

    def prepare(self, batch: Batch, step: int) -> MultitaskInput:
        seed, x = self.recipe.run.seed, batch.x
        index = torch.tensor(list(batch.samples), device=x.device)
        place, kind = uniforms(seed, STREAM_TIME, index, 2).unbind(1)
        time = torch.where(kind < self.section.start_share, torch.ones_like(place), place)
        noise = None
        if RECONSTRUCTION in self.section.tasks and (self.two_tasks.config.state == "noise" or self.section.start_share < 1):
            stride, (height, width) = self.two_tasks.stride, x.shape[-2:]
            shape = (3, -(-height // stride) * stride, -(-width // stride) * stride)
            noise = normals(seed, STREAM_STATE, index, shape[0] * shape[1] * shape[2]).unflatten(1, shape)
        uses = self._uses(x)
        draw = self.channel.realise(normals(seed, STREAM_SECOND, index, self.channel.normal_count(uses)), uses)
        first = vars(super().prepare(batch, step))
        return MultitaskInput(**first, time=time, state_noise=noise, second_noise=draw.noise, second_gain=draw.gain)

    def losses(self, update: str, given: StepInput) -> dict[str, torch.Tensor]:
        assert isinstance(given, MultitaskInput)
        x, masks, values = given.x, given.maps, dict[str, torch.Tensor]()
        loss = torch.zeros(len(x), device=x.device)
        known = torch.zeros(len(x), dtype=torch.bool, device=x.device) if masks is None else (masks != VOID).flatten(1).any(1)
        if RECONSTRUCTION in self.section.tasks:
            sent = torch.ones_like(known) if masks is None or self.section.masked_pictures else ~known
            values = self._pictures(update, replace(given, maps=None), sent)
            loss = values.pop("loss")
        if masks is not None:
            crossentropy = _spread(self._segmentation(given, known), known, self.shares[SEGMENTATION])
            loss = loss + self.section.segmentation_weight * crossentropy
            values |= {SEGMENTATION: crossentropy}
        return {"loss": loss} | values

    def transmitted(self, given: ReconstructionInput) -> TrainingOutput:
        assert isinstance(given, MultitaskInput)
        conditions = Conditions(given.snr_db, given.ratio)
        return self.two_tasks.forward_training(
            given.x, conditions, self.passage(given), progress=given.time, noise=given.state_noise
        )

    def validation(self, data_dir: str | None, folder: Path) -> Validation:
        return MultitaskValidation(self.recipe, data_dir, folder)

    def _pictures(self, update: str, given: MultitaskInput, sent: torch.Tensor) -> dict[str, torch.Tensor]:
        """What `ReconstructionStep` gives for those that are sent, ``(B,)``, 0 for the others."""
        rows = sent.nonzero()[:, 0]
        if not len(rows):
            return {"loss": torch.zeros(len(sent), device=sent.device)}
        values = super().losses(update, given.rows(rows))
        return {name: _spread(value, sent, self.shares[RECONSTRUCTION]) for name, value in values.items()}

    def _segmentation(self, given: MultitaskInput, known: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the received segmentations of those of which some pixel's class is known."""
        rows = known.nonzero()[:, 0]
        if not len(rows):
            return torch.zeros(0, device=given.x.device)
        part = given.rows(rows)
        channel = self.passage(replace(part, noise=part.second_noise, gain=part.second_gain))
        conditions = Conditions(part.snr_db, task=SEGMENTATION)
        scores = self.codec.forward_training(part.x, conditions, channel).reconstruction.segmentation
        assert scores is not None
        assert part.maps is not None
        return segmentation_loss(scores, part.maps[:, 0])

    def _uses(self, x: torch.Tensor) -> int:
        height, width = x.shape[-2:]
        return self.codec.header.uses(height, width, self.recipe.channel.snr_db[0]) + self.codec.payload_uses(
            height, width, self.two_tasks.config.segmentation_rate
        )


class MultitaskValidation(Validation):
    """Of the tasks that are learned: `Validation` on ``data.validate``, `SegmentationValidation` on the test images of the
    first training data that has masks."""

    def __init__(self, recipe: Recipe, data_dir: str | None, folder: Path) -> None:
        super().__init__(recipe, data_dir, folder)
        self._segmentation = None
        if SEGMENTATION in recipe.multitask.tasks:
            named = (name for name in recipe.data.train if open_dataset(name, data_dir, split="train").masks is not None)
            data = replace(recipe.data, validate=next(named), validate_limit=MASKS_SEEN)
            self._segmentation = SegmentationValidation(replace(recipe, data=data), data_dir, folder / SEGMENTATION)

    def __call__(self, network: nn.Module, step: int) -> dict[str, float]:
        figures = super().__call__(network, step) if RECONSTRUCTION in self.recipe.multitask.tasks else {}
        return figures if self._segmentation is None else figures | self._segmentation(network, step)


def _spread(values: torch.Tensor, among: torch.Tensor, share: float) -> torch.Tensor:
    """Values of the chosen ones ``(B,)``, 0 for the others; scaled so that the mean over all batches is that of the chosen."""
    return torch.zeros(len(among), device=values.device).index_put((among.nonzero()[:, 0],), values.float() / share)


class _Unknown:
    """Masks of images of which nothing is known."""

    def __init__(self, dataset: PictureDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((1, *self._dataset.shared(index).shape[1:]), VOID, dtype=torch.uint8)
