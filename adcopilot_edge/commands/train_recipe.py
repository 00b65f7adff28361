"""A training recipe with what the command line changes about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adcopilot_edge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from adcopilot_edge.training.recipe import TrainRecipe

DEFAULT_WORKERS = 1


def read_recipe(
    name: str,
    *,
    base: str | None = None,
    data: Sequence[str] = (),
    seed: int | None = None,
    steps: int | None = None,
) -> TrainRecipe:
    """The recipe ``name`` with another start, other folders, another seed, more or fewer steps.

    data: ``KIND=FOLDER`` each. Raises ConfigError for what the recipe does not have.
    """
    from adcopilot_edge.training.recipe import load_recipe

    recipe = load_recipe(name)
    if base is not None:
        recipe = recipe.with_base(base)
    if data:
        recipe = recipe.with_paths(read_data(data))
    if seed is not None:
        recipe = recipe.model_copy(update={"seed": seed})
    if steps is not None:
        recipe = recipe.with_steps(steps)
    return recipe


def train_words(
    name: str,
    *,
    base: str | None = None,
    data: Sequence[str] = (),
    seed: int | None = None,
    steps: int | None = None,
    out: Path | None = None,
    workers: int = DEFAULT_WORKERS,
    eval_deeppcb: Path | None = None,
) -> list[str]:
    """The words of a command line that starts the same run, but for ``--parallel``."""
    given: list[tuple[str, object]] = [("--base", base), *(("--data", word) for word in data)]
    given += [("--seed", seed), ("--steps", steps), ("--out", out)]
    given += [("--workers", workers if workers != DEFAULT_WORKERS else None)]
    given += [("--eval-deeppcb", eval_deeppcb)]
    return [name, *(str(word) for pair in given if pair[1] is not None for word in pair)]


def read_data(words: Sequence[str]) -> dict[str, str]:
    """Folders by kind. Raises ConfigError for a word that is not ``KIND=FOLDER``."""
    folders: dict[str, str] = {}
    for word in words:
        kind, _, folder = word.partition("=")
        if not kind or not folder:
            raise ConfigError(f"--data is KIND=FOLDER, such as folder=parts, got {word!r}")
        if kind in folders:
            raise ConfigError(f"--data has the kind {kind} twice; give one folder for it")
        folders[kind] = folder
    return folders
