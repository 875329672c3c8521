"""One update of a codec whose images a task network must still understand (SP-JSCC)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ...data.datasets import PictureDataset
from ...link import transmit
from ...metrics.backbones import cache_folder
from ...tasks.semantics import weights_of
from ..batches import Batch, Maps
from ..losses import divergence, mean_squared_error, weighted_squared_error
from ..progress import Count, Validation
from ..recipe import Recipe
from .reconstruction import ReconstructionInput, ReconstructionStep


class SemanticStep(ReconstructionStep):
    """`ReconstructionStep` with the distortion of `openjscc.training.sections.SemanticSection`.

    The semantic weights are computed once for each whole image, kept in the cache folder, and cut and mirrored with it.
    """

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__(recipe, network)
        from ...tasks import load_task_network

        self.semantic, self.started = recipe.semantic, True
        self.task = load_task_network(recipe.semantic.task_network)
        self.freeze("task_network", self.task)

    def attach(self, datasets: Sequence[PictureDataset], device: torch.device) -> Sequence[Maps] | None:
        super().attach(datasets, device)
        if self.semantic.weighting == "none":
            return None
        folder, kind, output = cache_folder() / "semantic", self.semantic.weighting, self.semantic.output
        counts = [Count(f"semantic weights of {dataset.name}", len(dataset), self.say) for dataset in datasets]
        return [
            weights_of(dataset, self.task, self.task.sha256, folder, kind, output, device=device, done=count)
            for dataset, count in zip(datasets, counts, strict=True)
        ]

    def prepare(self, batch: Batch, step: int) -> ReconstructionInput:
        self.started = step >= self.semantic.start
        return super().prepare(batch, step)

    def distortion(
        self, x: torch.Tensor, y: torch.Tensor, maps: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        values = {"mse": mean_squared_error(x, y)}
        if not self.started:
            return values["mse"], {}
        total = self.semantic.mse_share * values["mse"] if maps is not None else values["mse"]
        if maps is not None:
            values["weighted"] = weighted_squared_error(x, y, maps)
            total = total + (1 - self.semantic.mse_share) * values["weighted"]
        if self.semantic.kl:
            with torch.no_grad():
                sent = self.task(x)
            values["kl"] = divergence(sent, self.task(y))
            total = total + self.semantic.kl * values["kl"]
        return total, values

    def validation(self, data_dir: str | None, folder: Path) -> Validation:
        return SemanticValidation(self.recipe, data_dir, folder, self.task)


class SemanticValidation(Validation):
    """`Validation`, and how often the task network finds the class, at the highest ratio."""

    def __init__(self, recipe: Recipe, data_dir: str | None, folder: Path, task: nn.Module) -> None:
        super().__init__(recipe, data_dir, folder)
        self._task = task

    def __call__(self, network: nn.Module, step: int) -> dict[str, float]:
        figures = super().__call__(network, step)
        if self.labels is None:
            return figures
        codec, hits = self.codec(network), 0
        device = next(network.parameters()).device
        for picture, label in zip(self.pictures, self.labels, strict=True):
            sent = picture[None].float() / 255.0
            channel, snr_db = self.recipe.channel, self.recipe.run.validate_snr_db
            image = transmit(codec, channel.name, sent, snr_db, ratio=codec.ratios[-1], equalizer=channel.equalizer).image
            assert image is not None
            with torch.no_grad():
                hits += int(self._task(((image * 255).round() / 255).to(device)).argmax(1).item() == label)
        return figures | {"accuracy": hits / len(self.labels)}
