"""One update of what says of every pixel what it is part of: a codec for segmentations, or a task network on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ... import tasks
from ...channels import Realisation, make_channel
from ...classes import VOC_NINE, VOID, class_numbers, voc_palette
from ...codec import Conditions
from ...data.datasets import PictureDataset
from ...data.masks import MaskSet, masks_of
from ...errors import UsageError
from ...link import transmit
from ...metrics.task import confusion_entries, miou, pixel_accuracy
from ...models import LearnedCodec
from ...tasks import TaskNetwork
from ..augment import compressed
from ..batches import Batch, Maps
from ..losses import segmentation_loss
from ..progress import Validation
from ..recipe import Recipe
from ._base import StepInput, TrainingStep
from .classification import ClassificationStep
from .reconstruction import draw_conditions, passage, rate_shares

SEGMENTATION = "segmentation"
CLASSES = len(MaskSet.classes)


@dataclass(frozen=True, kw_only=True)
class SegmentationInput(StepInput):
    """`StepInput`, the masks, and for a codec one transmission.

    Attributes:
        masks: ``(B, 1, H, W)``.
        snr_db: ``(B,)``.
        ratio: ``(B,)``; None: the codec's own for this task.
        noise: of the channel draw.
        gain: of the channel draw; None: no fading.
    """

    masks: torch.Tensor
    snr_db: torch.Tensor | None = None
    ratio: torch.Tensor | None = None
    noise: torch.Tensor | None = None
    gain: torch.Tensor | None = None


class SegmentationStep(TrainingStep):
    """Cross-entropy of every pixel whose class is known (`openjscc.training.losses.segmentation_loss`).

    A codec sends the crops over ``channel``, at an SNR and, where it has several for this task, a bandwidth ratio drawn per
    image. A task network looks at the crops themselves (`openjscc.training.sections.SegmentationSection`).

    Raises:
        UsageError: a codec without this task, a task network for another, or one for other classes than the masks have.
    """

    inputs = SegmentationInput

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__(recipe, network)
        self.codec = network if isinstance(network, LearnedCodec) else None
        if self.codec is not None:
            if SEGMENTATION not in self.codec.tasks:
                raise UsageError(f"step segmentation with {recipe.model.arch}", "the codec does not serve this task")
            self.channel = make_channel(recipe.channel.name)
            self.rates = rate_shares(recipe, self.codec)
        elif not isinstance(network, TaskNetwork) or network.kind != SEGMENTATION or len(network.classes) != CLASSES:
            raise UsageError(f"step segmentation with {recipe.model.arch}", f"it takes networks of {CLASSES} classes of pixels")

    def attach(self, datasets: Sequence[PictureDataset], device: torch.device) -> Sequence[Maps] | None:
        """The masks. Raises UsageError for data that has none."""
        super().attach(datasets, device)
        return [masks_of(dataset) for dataset in datasets]

    def prepare(self, batch: Batch, step: int) -> SegmentationInput:
        recipe, x = self.recipe, batch.x
        assert batch.maps is not None
        if self.codec is not None:
            snr_db, ratio, draw = draw_conditions(recipe, self.codec, self.channel, self.rates, batch.samples, x)
            own = ratio if self.codec.tasks[0] == SEGMENTATION else None
            return SegmentationInput(x=x, masks=batch.maps, snr_db=snr_db, ratio=own, noise=draw.noise, gain=draw.gain)
        section = recipe.segmentation
        if section.jpeg_share:
            index = torch.tensor(list(batch.samples))
            x = compressed(x, index, recipe.run.seed, share=section.jpeg_share, quality=section.jpeg_quality)
            x = x.contiguous(memory_format=torch.channels_last)
        return SegmentationInput(x=x, masks=batch.maps)

    def losses(self, update: str, given: StepInput) -> dict[str, torch.Tensor]:
        assert isinstance(given, SegmentationInput)
        scores, masks = self._scores(given), given.masks[:, 0]
        known = masks != VOID
        hits = ((scores.argmax(1) == masks) & known).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
        return {"loss": segmentation_loss(scores, masks), "pixel_accuracy": hits}

    def _scores(self, given: SegmentationInput) -> torch.Tensor:
        if self.codec is None:
            return self.network(given.x)
        assert given.snr_db is not None
        assert given.noise is not None
        draw = Realisation(given.noise, given.gain)
        channel = passage(self.codec, self.channel, self.recipe.channel.equalizer, given.snr_db, draw)
        conditions = Conditions(given.snr_db, given.ratio, SEGMENTATION)
        scores = self.codec.forward_training(given.x, conditions, channel).reconstruction.segmentation
        assert scores is not None
        return scores

    def validation(self, data_dir: str | None, folder: Path) -> Validation:
        return SegmentationValidation(self.recipe, data_dir, folder)

    @classmethod
    def _kind(cls, recipe: Recipe) -> type[TrainingStep]:
        """Whose networks these are."""
        return ClassificationStep if recipe.model.arch in tasks.ARCHITECTURES else TrainingStep

    @classmethod
    def arguments(cls, recipe: Recipe, name: str) -> str:
        system = f"jpeg-ldpc+{name}" if cls._kind(recipe) is ClassificationStep else name
        return f"--task segmentation --model {system}"

    @classmethod
    def create_network(cls, recipe: Recipe) -> nn.Module:
        return cls._kind(recipe).create_network(recipe)

    @classmethod
    def load_network(cls, recipe: Recipe) -> nn.Module:
        return cls._kind(recipe).load_network(recipe)

    @classmethod
    def export_network(cls, network: nn.Module, path: Path, tag: str, training: Mapping[str, Any]) -> Any:
        kind = TrainingStep if isinstance(network, LearnedCodec) else ClassificationStep
        return kind.export_network(network, path, tag, training)


class SegmentationValidation(Validation):
    """Mean IoU and share of right pixels over all validation images, and a strip of what the averaged network finds."""

    def __init__(self, recipe: Recipe, data_dir: str | None, folder: Path) -> None:
        super().__init__(recipe, data_dir, folder)
        masks = masks_of(self.dataset)
        self.masks = [masks[index] for index in self.chosen]

    def __call__(self, network: nn.Module, step: int) -> dict[str, float]:
        """Mean IoU over all classes and over nine of them, and pixel accuracy; writes ``samples/step-*.png``: images above,
        segments below, in VOC's colours."""
        entries: list[np.ndarray] = []
        shown: list[tuple[torch.Tensor, torch.Tensor]] = []
        colours = torch.tensor(voc_palette()) / 255.0
        for picture, mask in zip(self.pictures, self.masks, strict=True):
            x = picture[None].float() / 255.0
            found = self._scores(network, x).argmax(1).cpu()
            entries += confusion_entries(found, mask.long(), classes=CLASSES)
            if len(shown) < 4:
                shown.append((x[0], colours[found[0]].permute(2, 0, 1)))
        self._write_strip(shown, step)
        nine = miou(entries, class_numbers(VOC_NINE))
        return {"miou": miou(entries), "miou_nine": nine, "pixel_accuracy": pixel_accuracy(entries)}

    def _scores(self, network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if isinstance(network, TaskNetwork):
            return tasks.perceive(network, x)
        channel, snr_db = self.recipe.channel, self.recipe.run.validate_snr_db
        codec = self.codec(network)
        result = transmit(codec, channel.name, x, snr_db, task=SEGMENTATION, equalizer=channel.equalizer)
        assert result.reconstruction.segmentation is not None
        return result.reconstruction.segmentation
