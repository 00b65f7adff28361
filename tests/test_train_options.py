"""``train``'s options that change a recipe: where it starts, what it reads, how it is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adcopilot_edge.commands import preview
from adcopilot_edge.commands.train_recipe import read_data, read_recipe
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.recipe import load_recipe


def test_a_recipe_starts_from_another_checkpoint_and_reads_another_folder() -> None:
    recipe = read_recipe("finetune", base="there", data=["folder=mine"], seed=3, steps=8)
    assert recipe.base is not None
    assert (recipe.base.checkpoint, recipe.seed, recipe.steps) == ("there", 3, 8)
    assert {item.path for item in recipe.sources if item.kind == "folder"} == {"mine"}


def test_another_checkpoint_has_a_shape_and_a_revision_of_its_own() -> None:
    written = load_recipe("stage1").base
    assert written is not None
    assert written.shape is not None
    other = read_recipe("stage1", base="there").base
    assert other is not None
    assert (other.checkpoint, other.shape, other.revision) == ("there", None, None)
    assert read_recipe("stage1", base=written.checkpoint).base == written


def test_steps_take_the_place_of_epochs_where_there_is_one_stage() -> None:
    (stage,) = read_recipe("stage3", steps=8).stages
    assert (stage.steps, stage.epochs) == (8, 0.0)
    recipe = load_recipe("stage3")
    twice = recipe.model_copy(update={"stages": recipe.stages * 2})
    with pytest.raises(ConfigError, match="known once its data is"):
        twice.with_steps(8)


def test_without_options_the_recipe_is_as_written() -> None:
    recipe = read_recipe("finetune")
    assert recipe.base is not None
    assert recipe.base.checkpoint == "embedded"
    assert recipe.seed == 0


@pytest.mark.parametrize("text", ["mine", "=mine", "folder="])
def test_data_needs_a_kind_and_a_folder(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--data is KIND=FOLDER"):
        read_data([text])


def test_a_kind_twice_is_an_error() -> None:
    with pytest.raises(ConfigError, match="twice"):
        read_data(["folder=a", "folder=b"])


@pytest.mark.torch
def test_the_sheet_shows_the_pairs_of_the_recipe(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "_PAIRS", 3)
    pairs = list(islice(preview.first_pairs(load_recipe("ablation")), 4))
    assert {pair.category for pair in pairs} == {"binary board"}
    assert {pair.test.shape for pair in pairs} == {(112, 112, 3)}
    code, _, err = cli("train", "ablation", "--preview", tmp_path / "sheet.png")
    assert code == 0, err
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * (3 * 112 + 3 * 4), 112 + 14 + 4)
    code, _, err = cli("train", "no-recipe", "--preview", tmp_path / "other.png")
    assert code == ConfigError.exit_code
    assert "no recipe 'no-recipe'" in err
    code, _, err = cli("train", "finetune", "--preview", tmp_path / "other.png")
    assert code != 0
    assert not (tmp_path / "other.png").exists()


def test_a_recipe_from_scratch_has_no_base() -> None:
    with pytest.raises(ConfigError, match="from scratch"):
        read_recipe("nano", base="there")


def test_an_unknown_kind_says_what_the_recipe_has() -> None:
    with pytest.raises(ConfigError, match="it has folder"):
        read_recipe("finetune", data=["chat-ad=set"])


@pytest.mark.torch
def test_the_command_takes_them(cli: Callable[..., Any], tmp_path: Path) -> None:
    code, out, _ = cli("train", "nano", "--data", "folder=x", "--json", "--out", str(tmp_path))
    assert code == ConfigError.exit_code
    assert "no data of the kind folder" in json.loads(out)["error"]["message"]
