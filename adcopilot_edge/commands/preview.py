"""A sheet of the pairs that a run would see, drawn before it starts."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from adcopilot_edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcopilot_edge.training.recipe import TrainRecipe
    from adcopilot_edge.types import LabelledPair

_PAIRS = 24
_SIDE = 224
_TOLD = 5


def draw_preview(path: Path, recipe: TrainRecipe, changes: Path | None = None) -> None:
    """Draw the first pairs of the recipe, or pairs made from the photographs in ``changes``."""
    from adcopilot_edge.runtime.overlay import save_image
    from adcopilot_edge.training.pair_sheet import draw_pairs

    pairs = first_pairs(recipe) if changes is None else changed_pairs(changes)
    save_image(draw_pairs(islice(pairs, _PAIRS)), path)
    print(f"wrote {path}", file=sys.stderr)


def first_pairs(recipe: TrainRecipe) -> Iterator[LabelledPair]:
    """The pairs of the first stage that has any, in the order of the run.

    Raises ConfigError where all data are dialogues, of which ``curate`` has drawn a sheet.
    """
    from adcopilot_edge.training.schedule import plan_stages
    from adcopilot_edge.training.stage_data import (
        PairSamples,
        first_number,
        mixture_of,
        open_sources,
    )

    for plan in plan_stages(recipe):
        first = first_number(recipe.seed, plan.first_sample)
        sources = open_sources(plan.stage, first, recipe.seed)
        mixture = mixture_of(plan.stage, sources, recipe.seed)
        if any(isinstance(source, PairSamples) for source in sources):
            print(f"pairs of stage {plan.stage.name}", file=sys.stderr)
            side = plan.stage.image_size or recipe.image_size
            number = 0
            while True:
                place, index = mixture.place(number)
                source = sources[place]
                if isinstance(source, PairSamples):
                    yield source.pair(index, size=side)
                number += 1
    raise ConfigError(
        f"the data of {recipe.name} are dialogues, not pairs; sheet.png of the set shows them"
    )


def changed_pairs(changes: Path) -> Iterator[LabelledPair]:
    """Pairs made from photographs, after a word on those that can't be used."""
    from adcopilot_edge.training.changes import open_changes

    source = open_changes(changes)
    for finding in islice(source.skipped, _TOLD):
        print(f"left out: {finding.path}: {finding.what}", file=sys.stderr)
    print(f"{len(source.photos)} photographs, {len(source.skipped)} left out", file=sys.stderr)
    return (source.pair(number, size=_SIDE) for number in range(_PAIRS))
