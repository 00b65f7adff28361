"""The pairs that a run is scored on: of the recipe's evaluation data, else of our generator."""

from __future__ import annotations

from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import LabelledPair

# Below those of training pairs.
_FIRST_EVALUATION_SEED = 500_000


def evaluation_sets(recipe: TrainRecipe) -> dict[str, list[LabelledPair]]:
    """The sets of pairs by name, each at the recipe's image size."""
    count = recipe.schedule.evaluation_pairs
    seeds = range(_FIRST_EVALUATION_SEED, _FIRST_EVALUATION_SEED + count)
    pairs = [generate_pair(seed, size=recipe.image_size).to_labelled() for seed in seeds]
    return {"synthetic": pairs}
