"""Recipes: what a stage may say, what is refused, and what follows from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from recipes import BASE, STAGE

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.recipe import TrainRecipe, load_recipe


def recipe(**stage: Any) -> TrainRecipe:
    return TrainRecipe.model_validate({**BASE, "stages": [{**STAGE, **stage}]})


def write(path: Path, content: dict[str, Any]) -> str:
    """The recipe as TOML, whose inline tables and arrays look like JSON but for the colons."""

    def value(item: Any) -> str:
        if isinstance(item, dict):
            return "{" + ", ".join(f"{key} = {value(held)}" for key, held in item.items()) + "}"
        if isinstance(item, list):
            return "[" + ", ".join(value(held) for held in item) + "]"
        return json.dumps(item)

    text = "\n".join(f"{key} = {value(item)}" for key, item in content.items())
    path.write_text(text.replace("Infinity", "inf"), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2}, "steps or epochs"),
        ({"steps": 0}, "steps or epochs"),
        ({"trains": []}, "nothing learns"),
        ({"image_size": 100}, "multiple of 28"),
        ({"method": "grpo", "grpo": {}, "image_size": 56}, "grpo has no image_size"),
        ({"method": "grpo", "grpo": {}}, "grpo has no loss"),
        ({"method": "grpo", "grpo": {}, "packing": True}, "grpo has no packing"),
        (
            {
                "method": "grpo",
                "grpo": {},
                "steps": 0,
                "epochs": 1,
                "data": [{"kind": "synthetic"}, {"kind": "synthetic"}],
            },
            "give steps, not epochs",
        ),
        (
            {"method": "grpo", "grpo": {}, "data": [{"kind": "synthetic", "weight": 2.0}]},
            "grpo has no weight in its data",
        ),
        ({"data": [{"kind": "synthetic", "questions": 5}]}, "questions"),
        ({"lora": {"parts": ["comparison"]}}, "in trains and in lora"),
        ({"method": "grpo"}, "grpo table"),
        ({"grpo": {}}, "grpo table"),
        ({"loss": {}}, "no loss"),
        ({"max_pixels": 4000}, "both min_pixels and max_pixels"),
        ({"min_pixels": 9000, "max_pixels": 4000}, "above max_pixels"),
        ({"warmup_steps": 3, "warmup_share": 0.1}, "warmup"),
        ({"data": []}, "data"),
        ({"data": [{"kind": "chat-ad"}]}, "needs a path"),
        ({"data": [{"kind": "synthetic", "path": "x"}]}, "has no path"),
        ({"data": [{"kind": "synthetic", "surfaces": ["ceramic tile"]}]}, "no training draws"),
        ({"data": [{"kind": "synthetic", "surfaces": ["cheese"]}]}, "unknown surfaces cheese"),
        ({"data": [{"kind": "folder", "path": "x", "surfaces": ["collage"]}]}, "no surfaces"),
        (
            {"data": [{"kind": "synthetic", "num_defects": [2, 1]}]},
            "fewest and the most defects of a pair",
        ),
        ({"data": [{"kind": "synthetic", "num_defects": [0, 7]}]}, "within 0 to 6"),
        ({"data": [{"kind": "folder", "path": "x", "num_defects": [1, 1]}]}, "no num_defects"),
        ({"data": [{"kind": "folder", "path": "x", "tasks": ["caption"]}]}, "not caption"),
        ({"data": [{"kind": "synthetic", "weight": float("inf")}]}, "weight"),
        ({"lora": {"parts": ["language"], "rnak": 8}}, "rnak"),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "wrong.toml", {**BASE, "stages": [{**STAGE, **changes}]})
    with pytest.raises(ConfigError, match=message):
        load_recipe(path)


def test_a_recipe_starts_from_shapes_or_from_a_checkpoint(tmp_path: Path) -> None:
    nothing = {key: item for key, item in BASE.items() if key != "base"}
    with pytest.raises(ConfigError, match=r"\[model\].*\[base\]"):
        load_recipe(write(tmp_path / "none.toml", {**nothing, "stages": [STAGE]}))
    path = write(tmp_path / "base.toml", {**BASE, "stages": [STAGE]})
    assert load_recipe(path).base == recipe().base


def test_adapters_have_the_published_shape_unless_told_otherwise() -> None:
    lora = recipe(lora={"parts": ["language"]}).stages[0].lora
    assert lora is not None
    assert (lora.rank, lora.alpha) == (64, 128)
    assert recipe(lora={"parts": ["language"]}).stages[0].learning_parts == (
        "comparison",
        "language",
    )


def test_the_number_of_devices_changes_the_accumulation_and_nothing_else() -> None:
    stage = recipe(batch_size=8, device_batch_size=2).stages[0]
    assert [stage.accumulation(devices) for devices in (1, 2, 4)] == [4, 2, 1]
    with pytest.raises(ConfigError, match=r"does not divide into 8 devices.* a multiple of 16"):
        stage.accumulation(8)
    assert [stage.divides(devices) for devices in (1, 3, 4, 8)] == [True, False, True, False]
    assert recipe(batch_size=8).stages[0].accumulation(4) == 1
    answers = recipe(
        batch_size=4, device_batch_size=4, method="grpo", grpo={"group_size": 8}, loss={}
    )
    assert answers.stages[0].accumulation(2) == 4


def test_steps_are_not_known_while_a_stage_has_epochs() -> None:
    with pytest.raises(ConfigError, match="steps of one"):
        _ = recipe(steps=0, epochs=2).steps
    assert recipe(steps=200, warmup_share=0.03).stages[0].rise() == 6


def test_a_shortened_run_reaches_its_learning_rate() -> None:
    nano = load_recipe("nano")
    shorter = nano.with_steps(nano.steps // 10)
    for stage, whole in zip(shorter.stages, nano.stages, strict=True):
        assert stage.rise() / stage.steps == pytest.approx(whole.rise() / whole.steps, abs=0.02)
    assert recipe(steps=200, warmup_steps=20).with_steps(20).stages[0].rise() == 2


def test_the_folder_of_data_may_be_another() -> None:
    chosen = recipe(data=[{"kind": "chat-ad", "path": "a"}, {"kind": "synthetic"}])
    moved = chosen.with_paths({"chat-ad": "b"})
    assert [item.path for item in moved.stages[0].data] == ["b", None]
    with pytest.raises(ConfigError, match="no data of the kind folder"):
        chosen.with_paths({"folder": "c"})


@pytest.mark.parametrize(
    "path",
    sorted((Path(__file__).parents[1] / "docs" / "nano-runs").glob("*.toml")),
    ids=lambda p: p.stem,
)
def test_the_recipes_of_the_embedded_nano_can_be_run(path: Path) -> None:
    made = load_recipe(str(path))
    assert made.name == path.stem
    assert made.base is not None
    assert made.base.checkpoint.startswith("runs/")
