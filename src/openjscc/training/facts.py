"""What a weight file says about its training."""

from __future__ import annotations

from typing import Any

from .checkpoint import TrainingState
from .recipe import Recipe


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
        "recipe_name": f"{recipe.model.arch}-{recipe.model.config}",
        "recipe": recipe.to_dict(),
    }
