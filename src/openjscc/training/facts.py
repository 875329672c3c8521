"""What a weight file says about its training."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from .checkpoint import TrainingState
from .recipe import Recipe, load_recipe, packaged_recipes, recipe_from_dict


def training_facts(recipe: Recipe, state: TrainingState) -> dict[str, Any]:
    """`openjscc.models.WeightInfo.training`: updates, images, time, machines, data and its terms, the whole recipe.

    They tell what was done. The recipe is the one that ``state`` was made by; ``recipe`` stands in where this version
    does not read that one. A packaged recipe that was changed is not said to be itself, and the terms of its data are
    not those of other data.
    """
    with contextlib.suppress(UsageError):
        recipe = recipe_from_dict(state.recipe, "checkpoint")
    name = _packaged(recipe)
    changes = _changes(load_recipe(name), recipe) if name else []
    note, terms = recipe.note, recipe.data.terms
    if changes:
        note = f"{name} with other {', '.join(changes)}"
    if "model.init" in changes and recipe.model.init:
        note = f"fine-tuned from {recipe.model.init}: {note}"
    if "data.train" in changes and "data.terms" not in changes:
        terms = ""
    return {
        "steps": state.step,
        "images": state.images or state.step * recipe.optimizer.batch,
        "seconds": round(state.seconds, 1),
        "compute": state.compute,
        "exact_resume": state.exact,
        "init": recipe.model.init,
        "data": list(recipe.data.train),
        "terms": terms,
        "recipe_name": name or f"{recipe.model.arch}-{recipe.model.config}",
        "recipe": recipe.to_dict() | {"note": note},
    }


def sittings(compute: Sequence[str]) -> list[str]:
    """Descriptions of the machines, each once, with how often the training was taken up on it."""
    return [line if times == 1 else f"{line} ({times} sittings)" for line, times in Counter(compute).items()]


def _packaged(recipe: Recipe) -> str:
    """The packaged recipe that this one is, or was changed from; empty: none."""
    for name in packaged_recipes():
        known = load_recipe(name)
        ours, theirs = ((one.note, one.model.arch, one.model.config, one.step) for one in (recipe, known))
        if ours == theirs:
            return name
    return ""


def _changes(before: Recipe, after: Recipe) -> list[str]:
    """Keys that have other values, as ``section.key``."""
    one, other = before.to_dict(), after.to_dict()
    sections = {section: keys for section, keys in other.items() if isinstance(keys, dict)}
    return [f"{section}.{key}" for section, keys in sections.items() for key in keys if keys[key] != one[section][key]]
