"""What the training loop and a kind of training owe each other.

The loop (`openjscc.training.loop`) fetches batches, and keeps the schedule, optimisers, average, checkpoints and log. A
`TrainingStep` says which networks there are, what is drawn for a batch, and what each update minimises.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn

from ...data.datasets import PictureDataset
from ...errors import UsageError
from ...models import LearnedCodec, configuration, create, export, load, resolve
from ..batches import Batch, Maps
from ..progress import Validation
from ..recipe import OptimizerSection, Recipe


@dataclass(frozen=True, kw_only=True)
class StepInput:
    """The images of a batch, and what was drawn for them. A step adds its own fields: tensors with one row per image, or numbers.

    Attributes:
        x: float32 ``(B, 3, H, W)`` in [0, 1].
    """

    x: torch.Tensor

    def rows(self, index: torch.Tensor) -> Self:
        """Of some images only."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return dataclasses.replace(self, **{name: value[index] for name, value in tensors.items()})


class TrainingStep(nn.Module):
    """One update as one module, so that data-parallel wrappers see one `forward`.

    `network` is what is averaged, validated and exported; a subclass may add further trained networks by overriding
    `trained`, and implements `prepare` and `losses`. Networks that are not trained (a task network, a loss's backbone) are
    kept with `freeze`.

    Args:
        recipe: the run.
        network: what is trained, made by `create_network` or `load_network`.

    Attributes:
        pictures: how many training images there are.
        say: receives lines for the person who waits; the loop sets it.
    """

    labels: ClassVar[bool] = False
    """Whether the images must come with class numbers."""

    leaves_unused: ClassVar[bool] = False
    """Whether an update may leave parameters of a trained network without a gradient."""

    inputs: ClassVar[type[StepInput]] = StepInput
    """What `prepare` gives."""

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = network
        self.pictures = 0
        self.say: Callable[[str], None] = lambda text: None
        self._frozen: list[nn.Module] = []

    def freeze(self, name: str, module: nn.Module) -> nn.Module:
        """Keep a network that is used but not trained: it moves along between devices and stays in evaluation mode."""
        self._frozen.append(module.eval().requires_grad_(False))
        self.add_module(name, module)
        return module

    def train(self, mode: bool = True) -> TrainingStep:
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def trained(self) -> Mapping[str, nn.Module]:
        """The trained networks by name; each has an optimiser of its own. ``model`` is `network`."""
        return {"model": self.network}

    def optimizer_section(self, name: str) -> OptimizerSection:
        """The optimiser of that network."""
        return self.recipe.optimizer

    def updates(self, step: int) -> Sequence[str]:
        """Names of the networks that update ``step`` (0-based) changes, in order; `losses` is called once for each."""
        return ("model",)

    def attach(self, datasets: Sequence[PictureDataset], device: torch.device) -> Sequence[Maps] | None:
        """Told the training images before the first batch.

        Returns:
            What is cut and mirrored with them, one per data set; None: nothing.
        """
        self.pictures = sum(len(dataset) for dataset in datasets)
        return None

    def scales(self, dataset: PictureDataset) -> bool:
        """Whether ``data.scale`` is for the images of this data set."""
        return True

    def prepare(self, batch: Batch, step: int) -> StepInput:
        """The images and what is drawn for them, keyed by ``batch.samples`` alone
        (`openjscc.training.draws`), so that it does not depend on how processes share a batch. Not under autocast."""
        raise NotImplementedError

    def forward(self, update: str, **fields: Any) -> dict[str, torch.Tensor]:
        """`losses`, given the fields of `inputs` one by one: Fabric converts arguments, and refuses frozen dataclasses."""
        return self.losses(update, self.inputs(**fields))

    def losses(self, update: str, given: StepInput) -> dict[str, torch.Tensor]:
        """What this update minimises: ``loss`` ``(B,)``, and further values ``(B,)`` for the log."""
        raise NotImplementedError

    def compile(self, *arguments: Any, **options: Any) -> None:
        """torch.compile what is worth it: encoder and decoder of a codec."""
        for name, part in self.network.named_children():
            if name.endswith(("encoder", "decoder")):
                part.compile()

    def validation(self, data_dir: str | None, folder: Path) -> Validation:
        """What measures the averaged network now and then."""
        return Validation(self.recipe, data_dir, folder)

    @classmethod
    def arguments(cls, recipe: Recipe, name: str) -> str:
        """What makes ``openjscc send`` use the exported network of that name."""
        return f"--model {name}"

    @classmethod
    def create_network(cls, recipe: Recipe) -> nn.Module:
        """A fresh network."""
        return fresh_codec(recipe)

    @classmethod
    def load_network(cls, recipe: Recipe) -> nn.Module:
        """The network of ``model.init``, a released name or an exported file.

        Raises:
            UsageError: it is of another architecture or configuration. Others: as `openjscc.models.load`.
        """
        codec = load(resolve(recipe.model.init))
        arch = recipe.model.arch
        other = fresh_codec(recipe)
        same_network = type(codec) is type(other) or bool(other.trained_as and codec.trained_as == other.trained_as)
        free = {name: getattr(other.config, name) for name in other.FREE if hasattr(codec.config, name)}
        if not same_network or dataclasses.replace(codec.config, **free) != other.config:
            raise UsageError(
                f"model.init {recipe.model.init!r} is no {arch} in the configuration {recipe.model.config!r}"
                + (f" with rates {list(recipe.model.rates)}" if recipe.model.rates else ""),
                "choose a weight and a recipe that fit each other: openjscc models list",
            )
        if codec.arch == arch and codec.config == other.config:
            return codec
        other.load_state_dict(codec.state_dict())
        return other

    @classmethod
    def export_network(cls, network: nn.Module, path: Path, tag: str, training: Mapping[str, Any]) -> Any:
        """Write a release file (`openjscc.models.export`)."""
        return export(network, path, tag=tag, training=dict(training))  # pyright: ignore[reportArgumentType]


def fresh_codec(recipe: Recipe) -> LearnedCodec:
    """The untrained codec of a recipe's ``[model]``. Raises UsageError for what it cannot be."""
    model = recipe.model
    return create(model.arch, configuration(model.arch, model.config, model.rates))
