"""One update of a task network: a classifier of labelled images, which later looks at what codecs deliver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ... import tasks
from ...data.datasets import PictureDataset
from ...errors import UsageError
from ..augment import shifted_and_cut
from ..batches import Batch, Maps
from ..progress import Validation
from ..recipe import Recipe
from ._base import StepInput, TrainingStep


@dataclass(frozen=True, kw_only=True)
class ClassificationInput(StepInput):
    """`StepInput`.

    Attributes:
        labels: int64 ``(B,)``, class numbers.
    """

    labels: torch.Tensor


class ClassificationStep(TrainingStep):
    """Cross-entropy with smoothed labels on images that are mirrored (``data.flip``), moved, and get a hole.

    No channel lies in between: the network is trained on images as they are sent. See
    `openjscc.training.sections.ClassificationSection`.
    """

    labels = True
    inputs = ClassificationInput

    def attach(self, datasets: Sequence[PictureDataset], device: torch.device) -> Sequence[Maps] | None:
        """Refuses labels that the network has no class for (UsageError)."""
        super().attach(datasets, device)
        classes = len(self.classifier(self.network).classes)
        for dataset in datasets:
            if dataset.labels is not None and int(dataset.labels.max()) >= classes:
                raise UsageError(
                    f"{dataset.name} has class number {int(dataset.labels.max())}, the network {classes} classes",
                    "train on data with these classes",
                )
        return None

    def prepare(self, batch: Batch, step: int) -> ClassificationInput:
        assert batch.labels is not None
        settings, seed = self.recipe.classification, self.recipe.run.seed
        index = torch.tensor(list(batch.samples), device=batch.x.device)
        x = shifted_and_cut(batch.x, index, seed, shift=settings.shift, cut=settings.cut)
        return ClassificationInput(x=x.contiguous(memory_format=torch.channels_last), labels=batch.labels)

    def losses(self, update: str, given: StepInput) -> dict[str, torch.Tensor]:
        assert isinstance(given, ClassificationInput)
        scores = self.network(given.x).float()
        smoothing = self.recipe.classification.smoothing
        loss = F.cross_entropy(scores, given.labels, label_smoothing=smoothing, reduction="none")
        return {"loss": loss, "accuracy": (scores.argmax(1) == given.labels).float()}

    def validation(self, data_dir: str | None, folder: Path) -> Validation:
        return ClassificationValidation(self.recipe, data_dir, folder)

    @classmethod
    def arguments(cls, recipe: Recipe, name: str) -> str:
        return f"--task-network {name}"

    @classmethod
    def create_network(cls, recipe: Recipe) -> nn.Module:
        if recipe.model.rates:
            raise UsageError(f"model.rates {list(recipe.model.rates)} of {recipe.model.arch}", "a task network has none")
        return tasks.create(recipe.model.arch, recipe.model.config)

    @classmethod
    def load_network(cls, recipe: Recipe) -> nn.Module:
        """The network of ``model.init`` (`openjscc.tasks.load_task_network`).

        Raises:
            UsageError: it is of another architecture or configuration. Others: as there.
        """
        network, fresh = tasks.load_task_network(recipe.model.init), cls.create_network(recipe)
        if type(network) is not type(fresh) or getattr(network, "config", None) != fresh.config:
            raise UsageError(
                f"model.init {recipe.model.init!r} is no {recipe.model.arch} in the configuration {recipe.model.config!r}",
                "choose a weight and a recipe that fit each other: openjscc models list",
            )
        return network

    @classmethod
    def export_network(cls, network: nn.Module, path: Path, tag: str, training: Mapping[str, Any]) -> tasks.TaskWeight:
        """Write a release file (`openjscc.tasks.export`)."""
        assert isinstance(network, tasks.Classifier | tasks.FCN)
        return tasks.export(network, path, tag=tag, training=training)

    @staticmethod
    def classifier(network: nn.Module) -> tasks.Classifier:
        """The network, which is a classifier.

        Raises:
            UsageError: it is for another task.
        """
        if not isinstance(network, tasks.Classifier):
            raise UsageError(f"step classification with {type(network).__name__}", "it trains classifiers")
        return network


class ClassificationValidation(Validation):
    """Share of images whose class is found, on images it is not trained on."""

    def __call__(self, network: nn.Module, step: int) -> dict[str, float]:
        if self.labels is None:
            return {}
        classifier, hits = ClassificationStep.classifier(network), 0
        for picture, label in zip(self.pictures, self.labels, strict=True):
            hits += int(tasks.perceive(classifier, picture[None].float() / 255.0).argmax(1)) == label
        return {"accuracy": hits / len(self.labels)}
