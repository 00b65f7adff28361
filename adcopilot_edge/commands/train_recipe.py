"""A training recipe with what the command line changes about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adcopilot_edge.errors import ConfigError

if TYPE_CHECKING:
    from adcopilot_edge.training.recipe import TrainRecipe


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


def recipe_words(
    name: str,
    *,
    base: str | None = None,
    data: Sequence[str] = (),
    seed: int | None = None,
    steps: int | None = None,
) -> list[str]:
    """The words of a command line that gives the same to ``read_recipe``."""
    given: list[tuple[str, str | int | None]] = [("--base", base)]
    given += [("--data", word) for word in data]
    given += [("--seed", seed), ("--steps", steps)]
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
