"""Recipes: everything that defines a training run, as frozen dataclasses and as commented TOML files.

A recipe is found by name among the packaged ones (``openjscc train adjscc-photo``) or by path. ``--set a.b=v`` changes
one value; the whole recipe travels in checkpoints and in the released weight.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..configuration import build, convert, packaged, read_toml
from ..errors import UsageError
from .sections import (
    ChannelSection,
    ClassificationSection,
    DataSection,
    GanSection,
    LossSection,
    ModelSection,
    MultitaskSection,
    OptimizerSection,
    RateSection,
    RunSection,
    SegmentationSection,
    SemanticSection,
)

STEP_OF = {
    "semantic": "semantic",
    "gan": "perceptual",
    "classification": "classification",
    "multitask": "multitask",
    "segmentation": "segmentation",
}
"""The one step that reads a section."""

PIXEL_LIMIT = 2**30
"""Most pixels in a batch: 12 GiB in single precision."""


@dataclass(frozen=True)
class Recipe:
    """A training run. ``note`` is one line for people, ``step`` the kind of training (`openjscc.training.steps.STEPS`)."""

    model: ModelSection
    data: DataSection
    optimizer: OptimizerSection
    channel: ChannelSection = field(default_factory=ChannelSection)
    loss: LossSection = field(default_factory=LossSection)
    rate: RateSection = field(default_factory=RateSection)
    semantic: SemanticSection = field(default_factory=SemanticSection)
    gan: GanSection = field(default_factory=GanSection)
    classification: ClassificationSection = field(default_factory=ClassificationSection)
    multitask: MultitaskSection = field(default_factory=MultitaskSection)
    segmentation: SegmentationSection = field(default_factory=SegmentationSection)
    run: RunSection = field(default_factory=RunSection)
    note: str = ""
    step: str = "reconstruction"

    def __post_init__(self) -> None:
        batch, crop = self.optimizer.batch, self.data.crop
        if batch * crop**2 > PIXEL_LIMIT:
            raise UsageError(
                f"optimizer.batch {batch} of data.crop {crop} are {batch * crop**2:,} pixels", f"at most {PIXEL_LIMIT:,} a batch"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which `recipe_from_dict` makes an equal recipe."""
        return dataclasses.asdict(self)


def recipe_from_dict(values: dict[str, Any], where: str) -> Recipe:
    """A recipe from plain values. Raises UsageError naming ``where``, the key and the value."""
    return build(Recipe, values, where)


def is_of_model(values: Mapping[str, Any], model: ModelSection) -> bool:
    """Whether the plain values of a recipe, perhaps of an older version, have this ``[model]``."""
    try:
        return convert(ModelSection, values.get("model"), "model") == model
    except UsageError:
        return False


def packaged_recipes() -> list[str]:
    """Names of the recipes in the package."""
    return packaged("openjscc.training", "recipes")


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or path, with ``a.b=v`` changes applied.

    Raises:
        UsageError: no such recipe; TOML that does not parse; an unknown key or a value of the wrong type, naming the file,
            the key and the value; settings that the step does not read. (A file may keep those of its own step while an
            override changes the step.)
    """
    values = read_toml(name, "recipe", "openjscc.training", "recipes")
    _check_read(values, values.get("step"), name)
    for override in overrides:
        _apply(values, override)
    _check_read([override.partition(".")[0].strip() for override in overrides], values.get("step"), "--set")
    return recipe_from_dict(values, name)


def _check_read(sections: Iterable[str], step: Any, where: str) -> None:
    for section in sections:
        if section in STEP_OF and step != STEP_OF[section]:
            step = Recipe.step if step is None else step
            raise UsageError(
                f"{where}: [{section}] with step {step!r}", f'nothing reads it there; step = "{STEP_OF[section]}" does'
            )


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    path = key.strip().split(".")
    if not separator or not all(path):
        raise UsageError(f"--set {override!r}", "write --set section.key=value, e.g. --set optimizer.steps=100")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    target = values
    for part in path[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise UsageError(f"--set {override!r}: {part!r} is a value, not a section", "see the recipe for its sections")
    target[path[-1]] = value
