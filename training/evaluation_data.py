"""The pairs and dialogues that a run is scored on, and the lists of parts that it never trains on.

Knows neither models nor figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from adcopilot_edge.errors import ConfigError, TooFewSamplesError
from adcopilot_edge.training.changes.source import open_changes
from adcopilot_edge.training.chat_ad.shards import DATA_FOLDER, find_shards
from adcopilot_edge.training.dialogues import DialogueSamples, open_dialogues
from adcopilot_edge.training.folder import Folder, held_out_pairs, open_folder, write_list
from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.stage_data import SyntheticPairs
from adcopilot_edge.training.stage_recipe import DataRecipe
from adcopilot_edge.types import LabelledPair

EvaluationSet = Sequence[LabelledPair] | DialogueSamples
"""What is scored under one name."""

_FIRST_NUMBER = 500_000
"""Numbers of made pairs that are scored start here; those of training lie above."""


def open_folders(recipe: TrainRecipe) -> dict[str, Folder]:
    """The users' folders that ``recipe`` names anywhere, by path; raises as ``open_folder``."""
    found = {
        item.path: item.folder
        for item in recipe.sources
        if item.kind == "folder" and item.path is not None
    }
    return {path: open_folder(Path(path), settings) for path, settings in found.items()}


def evaluation_sets(recipe: TrainRecipe, folders: Mapping[str, Folder]) -> dict[str, EvaluationSet]:
    """Pairs and dialogues by the name of their source; pairs made where the recipe names none.

    Of a folder all parts that are held out, of what is made as many as the schedule says, and of
    dialogues so many, drawn from the whole split, the same ones in every run.

    Raises:
        ConfigError: A curated set is missing, has no such split, or trains.
        DatasetError: It is damaged, or none of its dialogues is about the tasks.
        TooFewSamplesError: No part of a folder is held out.
    """
    sets: dict[str, EvaluationSet] = {}
    for item in recipe.evaluation or (DataRecipe(kind="synthetic"),):
        name = _name(item)
        same = sum(other == name or other.startswith(f"{name} (") for other in sets)
        sets[f"{name} ({same + 1})" if same else name] = (
            _dialogues(item, recipe) if item.kind == "chat-ad" else _pairs(item, recipe, folders)
        )
    return sets


def _name(item: DataRecipe) -> str:
    """What kind of pairs or dialogues they are, and of what."""
    of = ", ".join(item.surfaces) if item.path is None else Path(item.path).name
    if item.num_defects:
        of += " with {} to {} defects".format(*item.num_defects)
    if item.kind == "chat-ad":
        of += f" {item.split}"
    return " ".join(f"{item.kind} {of}".split())


def write_holdouts(folders: Mapping[str, Folder], run: Path) -> list[Path]:
    """Write what is held out of each folder as a list for ``evaluate pairs``; nothing of none.

    The first is ``holdout.jsonl``, others have a number.
    """
    written: list[Path] = []
    for folder in folders.values():
        if folder.held_out:
            number = f"-{len(written) + 1}" if written else ""
            path = run / f"holdout{number}.jsonl"
            write_list(folder, folder.held_out, path)
            written.append(path)
    return written


def _pairs(
    item: DataRecipe, recipe: TrainRecipe, folders: Mapping[str, Folder]
) -> list[LabelledPair]:
    size, numbers = recipe.image_size, range(_FIRST_NUMBER, _FIRST_NUMBER + _count(item, recipe))
    if item.kind == "synthetic":
        made = SyntheticPairs(item.surfaces, item.num_defects)
        return [made.pair(number, size=size) for number in numbers]
    assert item.path is not None
    if item.kind == "changes":
        changes = open_changes(Path(item.path), seed=recipe.seed)
        return [changes.pair(number, size=size) for number in numbers]
    pairs = held_out_pairs(folders[item.path], size=size)
    if not pairs:
        raise TooFewSamplesError(
            f"no part of {item.path} is held out, so nothing can be scored on it; raise its "
            f"holdout ({item.folder.holdout}), or add parts"
        )
    return pairs


def _dialogues(item: DataRecipe, recipe: TrainRecipe) -> DialogueSamples:
    assert item.path is not None
    trained = [data for stage in recipe.stages for data in stage.data if data.kind == "chat-ad"]
    if any((data.path, data.split) == (item.path, item.split) for data in trained):
        raise ConfigError(
            f"the split {item.split} of {item.path} trains, so its scores would say nothing of "
            'other dialogues; write split = "validation" in the recipe\'s evaluation'
        )
    folder = Path(item.path)
    if not (folder / DATA_FOLDER).is_dir() or item.split not in find_shards(folder):
        raise ConfigError(
            f"{folder} has no split {item.split} to be scored on; make a set that has one with "
            f"`adcopilot-edge curate FOLDERS --out {folder} --validation 0.02`, or leave it out of "
            "the recipe's evaluation"
        )
    return open_dialogues(
        item.path,
        split=item.split,
        tasks=item.tasks,
        count=_count(item, recipe),
        is_drawn=True,
    )


def _count(item: DataRecipe, recipe: TrainRecipe) -> int:
    return item.count or recipe.schedule.evaluation_pairs
