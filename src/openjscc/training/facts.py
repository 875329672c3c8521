"""What a weight file says about its training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .checkpoint import TrainingState
from .recipe import Recipe, load_recipe, packaged_recipes


def training_facts(recipe: Recipe, state: TrainingState) -> dict[str, Any]:
    """`openjscc.models.WeightInfo.training`: updates, images, time, machines, data and its terms, the whole recipe."""
    return {
        "steps": state.step,
        "images": state.images or state.step * recipe.optimizer.batch,
        "seconds": round(state.seconds, 1),
        "compute": state.compute,
        "exact_resume": state.exact,
        "data": list(recipe.data.train),
        "terms": recipe.data.terms,
        "recipe_name": _name(recipe),
        "recipe": recipe.to_dict(),
    }


def sittings(compute: Sequence[str]) -> list[str]:
    """Descriptions of the machines, each once, with how often the training was taken up on it."""
    return [line if times == 1 else f"{line} ({times} sittings)" for line, times in Counter(compute).items()]


def _name(recipe: Recipe) -> str:
    """The packaged recipe that this one is, or was changed from; else what it trains."""
    for name in packaged_recipes():
        known = load_recipe(name)
        if (known.note, known.model, known.step) == (recipe.note, recipe.model, recipe.step):
            return name
    return f"{recipe.model.arch}-{recipe.model.config}"
