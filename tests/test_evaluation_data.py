"""What a run is scored on: sources by name, what is held out of them, never what trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adcopilot_edge.calibration.pair_list import read_pair_list
from adcopilot_edge.errors import ConfigError, DatasetError, TooFewSamplesError
from adcopilot_edge.training.dialogues import DialogueSamples
from adcopilot_edge.training.evaluation_data import evaluation_sets, open_folders, write_holdouts
from adcopilot_edge.training.folder import Folder, FolderPairs
from adcopilot_edge.training.recipe import TrainRecipe, load_recipe
from adcopilot_edge.training.stage_data import PairSamples, open_sources
from adcopilot_edge.types import LabelledPair
from tests.dialogue_sets import write_dialogues
from tests.part_folders import write_listed, write_plain
from tests.photos import write_photos

STAGE: dict[str, Any] = {
    "name": "one",
    "trains": ["comparison"],
    "steps": 4,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "loss": {"anomaly_map": 1.0},
}


def recipe(data: list[dict[str, Any]], evaluation: list[dict[str, Any]]) -> TrainRecipe:
    nano = load_recipe("nano").model_dump()
    return TrainRecipe.model_validate(
        {
            **nano,
            "image_size": 112,
            "stages": [{**STAGE, "data": data}],
            "schedule": {**nano["schedule"], "evaluation_pairs": 3},
            "evaluation": evaluation,
        }
    )


def pair_sets(chosen: TrainRecipe, folders: Mapping[str, Folder]) -> dict[str, list[LabelledPair]]:
    """What is scored, where it is pairs alone."""
    sets = evaluation_sets(chosen, folders)
    return {name: [*held] for name, held in sets.items() if not isinstance(held, DialogueSamples)}


def test_without_a_choice_generated_pairs_are_scored() -> None:
    sets = pair_sets(recipe([{"kind": "synthetic"}], []), {})
    assert {name: len(pairs) for name, pairs in sets.items()} == {"synthetic": 3}
    assert sets["synthetic"][0].name.endswith("500000")


def test_generated_pairs_to_score_on_may_be_of_some_surfaces_unseen_ones_too() -> None:
    data = {"kind": "synthetic", "surfaces": ["blister pack", "woven"], "num_defects": [1, 1]}
    sets = pair_sets(recipe([{"kind": "synthetic"}], [{"kind": "synthetic"}, data]), {})
    named = "synthetic blister pack, woven with 1 to 1 defects"
    assert [*sets] == ["synthetic", named]
    found = [(pair.category, len(pair.boxes)) for pair in sets[named]]
    assert found == [("blister pack", 1), ("woven", 1), ("blister pack", 1)]


def test_no_set_takes_the_place_of_another_of_its_name(tmp_path: Path) -> None:
    photos = [str(write_photos(tmp_path / name / "photos", 1)) for name in ("a", "b")]
    made = [{"kind": "changes", "path": path} for path in photos]
    sets = pair_sets(recipe([{"kind": "synthetic"}], [*made, {"kind": "synthetic"}]), {})
    assert [*sets] == ["changes photos", "changes photos (2)", "synthetic"]


def test_each_source_is_scored_under_its_name(tmp_path: Path) -> None:
    lids = str(write_listed(tmp_path / "lids", num_good=12))
    photos = str(write_photos(tmp_path / "photos", 1))
    folder = {"holdout": 0.5}
    chosen = recipe(
        [{"kind": "folder", "path": lids, "folder": folder}],
        [
            {"kind": "folder", "path": lids, "folder": folder},
            {"kind": "changes", "path": photos, "count": 2},
        ],
    )
    folders = open_folders(chosen)
    sets = pair_sets(chosen, folders)
    held = {part.image.path.name for part in folders[lids].held_out}
    assert {pair.name for pair in sets["folder lids"]} == held
    assert len(sets["changes photos"]) == 2


def test_a_stage_trains_on_what_is_not_held_out(tmp_path: Path) -> None:
    lids = str(write_plain(tmp_path / "lids"))
    chosen = recipe([{"kind": "folder", "path": lids, "folder": {"holdout": 0.5}}], [])
    (source,) = open_sources(chosen.stages[0], 10, seed=3)
    assert isinstance(source, PairSamples)
    assert isinstance(source.pairs, FolderPairs)
    assert source.pairs.seed == 3
    folder = open_folders(chosen)[lids]
    assert source.pairs.folder.train == folder.train
    assert not {part.sha256 for part in folder.train} & {part.sha256 for part in folder.held_out}


def test_one_list_is_written_for_each_folder(tmp_path: Path) -> None:
    one = str(write_listed(tmp_path / "lids", num_good=10))
    other = str(write_plain(tmp_path / "caps", num_good=10))
    whole = str(write_plain(tmp_path / "plugs", num_good=10))
    settings = {"holdout": 0.5}
    chosen = recipe(
        [
            {"kind": "folder", "path": whole, "folder": {"holdout": 0.0}},
            {"kind": "folder", "path": one, "folder": settings},
            {"kind": "folder", "path": other, "folder": settings},
        ],
        [],
    )
    written = write_holdouts(open_folders(chosen), tmp_path)
    assert [path.name for path in written] == ["holdout.jsonl", "holdout-2.jsonl"]
    for path in written:
        assert read_pair_list(path).pairs


def test_nothing_held_out_can_not_be_scored(tmp_path: Path) -> None:
    lids = str(write_plain(tmp_path / "lids"))
    item = {"kind": "folder", "path": lids, "folder": {"holdout": 0.0}}
    chosen = recipe([item], [item])
    with pytest.raises(TooFewSamplesError, match=r"no part of .* is held out"):
        evaluation_sets(chosen, open_folders(chosen))


def held(path: Path, **more: Any) -> dict[str, Any]:
    return {"kind": "chat-ad", "path": str(path), "split": "validation", **more}


def test_dialogues_that_were_held_out_are_scored(tmp_path: Path) -> None:
    folder = write_dialogues(tmp_path / "talks", {"train": 1, "validation": 2})
    items = [held(folder), held(folder, tasks=["locate"], count=1)]
    chosen = recipe([{"kind": "chat-ad", "path": str(folder)}], [{"kind": "synthetic"}, *items])
    sets = evaluation_sets(chosen, {})
    name = "chat-ad talks validation"
    assert [*sets] == ["synthetic", name, f"{name} (2)"]
    every, places = sets[name], sets[f"{name} (2)"]
    assert isinstance(every, DialogueSamples)
    assert isinstance(places, DialogueSamples)
    # As many as the schedule says, and as the source says.
    assert (every.size, places.size) == (3, 1)
    assert every.stored(0).sample.split == "validation"
    assert places.task(0) == "locate"


def test_a_set_with_nothing_held_out_says_how_to_make_one(tmp_path: Path) -> None:
    folder = write_dialogues(tmp_path / "talks", {"train": 1})
    for path in (folder, tmp_path / "none"):
        chosen = recipe([{"kind": "synthetic"}], [held(path)])
        with pytest.raises(ConfigError, match=rf"curate FOLDERS --out {path} --validation 0\.02"):
            evaluation_sets(chosen, {})


def test_dialogues_that_train_are_not_scored(tmp_path: Path) -> None:
    folder = write_dialogues(tmp_path / "talks", {"train": 1})
    trains = {"kind": "chat-ad", "path": str(folder)}
    with pytest.raises(ConfigError, match=r"the split train of .* trains"):
        evaluation_sets(recipe([trains], [trains]), {})


def test_dialogues_about_other_tasks_are_refused(tmp_path: Path) -> None:
    folder = write_dialogues(tmp_path / "talks", {"validation": 1}, tasks=("caption",))
    chosen = recipe([{"kind": "synthetic"}], [held(folder, tasks=["choice"])])
    with pytest.raises(DatasetError, match="no dialogue of the split validation about choice"):
        evaluation_sets(chosen, {})


def test_a_folder_split_in_two_ways_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split in two ways"):
        recipe(
            [{"kind": "folder", "path": "lids"}],
            [{"kind": "folder", "path": "lids", "folder": {"holdout": 0.5}}],
        )
    two = recipe(
        [{"kind": "folder", "path": "lids"}],
        [{"kind": "folder", "path": "caps", "folder": {"holdout": 0.5}}],
    )
    with pytest.raises(ConfigError, match="split in two ways"):
        two.with_paths({"folder": "lids"})


def test_only_a_folder_has_settings_of_one() -> None:
    with pytest.raises(ValueError, match="has no table folder"):
        recipe([{"kind": "synthetic", "folder": {"holdout": 0.5}}], [])


def test_the_recipe_for_a_folder_takes_both_from_the_command_line() -> None:
    chosen = load_recipe("finetune").with_paths({"folder": "mine"}).with_base("other")
    assert chosen.base is not None
    assert chosen.base.checkpoint == "other"
    assert {item.path for item in chosen.sources if item.kind == "folder"} == {"mine"}
    with pytest.raises(ConfigError, match="from scratch"):
        load_recipe("nano").with_base("other")
