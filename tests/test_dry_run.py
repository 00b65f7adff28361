"""The dry run: exact counts, memory by its formulas, and commands that the program knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recipes import BASE, STAGE
from tiny import RECIPE, tiny_checkpoint, tiny_config, tiny_model
from train_cases import write_recipe

from adcopilot_edge.errors import CheckpointError, ConfigError
from adcopilot_edge.training.dry_run import StageDryRun, commands, dry_run
from adcopilot_edge.training.model_parts import PARTS, part_of
from adcopilot_edge.training.recipe import TrainRecipe, load_recipe

pytestmark = pytest.mark.torch

# Inputs and outputs of the layers with adapters, summed, of a layer of the 7B language model, a
# block of its tower, the Comparison Encoder and the merger.
LAYER = 2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944)
BLOCK = (1280 + 3840) + (1280 + 1280) + 3 * (1280 + 3420)
ENCODER = 3 * (2 * (1280 + 1280) + (1280 + 2560) + 3 * (1280 + 3420)) + (1280 + 3584)
MERGER = (5120 + 5120) + (5120 + 3584)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("dry") / "checkpoint", is_tied=False)


def plan(checkpoint: Path | str, base: dict[str, Any] | None = None, **stage: Any) -> StageDryRun:
    content = {
        **BASE,
        "base": {"checkpoint": str(checkpoint), **(base or {})},
        "stages": [{**STAGE, **stage}],
    }
    (found,) = dry_run(TrainRecipe.model_validate(content))
    return found


def test_parameters_are_counted_by_part(checkpoint: Path) -> None:
    found = plan(checkpoint, trains=["comparison", "merger"])
    expected = dict.fromkeys(PARTS, 0)
    for name, parameter in tiny_model(tiny_config(is_tied=False)).named_parameters():
        expected[part_of(name)] += parameter.numel()
    assert {part.part: part.total for part in found.parts} == expected
    assert found.learning == expected["comparison"] + expected["merger"]
    assert not any(part.adapters for part in found.parts)


def test_adapters_are_counted_exactly(checkpoint: Path) -> None:
    found = plan(checkpoint, trains=[], lora={"parts": ["language"], "rank": 3})
    wide, narrow, inner = RECIPE.hidden_size, RECIPE.hidden_size // 2, RECIPE.mlp
    # q and o; k and v; gate, up and down.
    layer = 2 * (wide + wide) + 2 * (wide + narrow) + 3 * (wide + inner)
    assert found.learning == 3 * layer * RECIPE.layers


def test_memory_follows_the_formulas(checkpoint: Path) -> None:
    found = plan(checkpoint, trains=["comparison"], batch_size=8, device_batch_size=1)
    learning, frozen = found.learning, found.total - found.learning
    by_kind = {(item.devices, item.parallel): item for item in found.memory}
    one, ddp, fsdp = by_kind[1, "one"], by_kind[8, "ddp"], by_kind[8, "fsdp"]
    assert one.weights == ddp.weights == 4 * learning + 2 * frozen
    assert (one.gradients, one.optimizer, one.copies) == (
        4 * learning,
        8 * learning,
        2 * learning,
    )
    assert fsdp.weights == -(-one.weights // 8)
    assert fsdp.optimizer == -(-one.optimizer // 8)
    assert (one.accumulation, fsdp.accumulation) == (8, 1)
    assert one.activations == fsdp.activations > 0
    assert one.total == sum(
        (one.weights, one.gradients, one.optimizer, one.copies, one.activations)
    )
    whole = plan(checkpoint, trains=["comparison"], precision="fp32").memory[0]
    assert (whole.weights, whole.copies) == (4 * found.total, 0)


def test_what_is_gathered_are_two_blocks_and_all_outside_of_blocks(checkpoint: Path) -> None:
    model = tiny_model(tiny_config(is_tied=False))
    blocks = [*model.model.visual.blocks, *model.model.language_model.layers]
    sizes = [sum(item.numel() for item in block.parameters()) for block in blocks]
    outside = sum(item.numel() for item in model.parameters()) - sum(sizes)
    found = plan(checkpoint, trains=["comparison"]).memory[-1]
    assert found.parallel == "fsdp"
    assert found.copies == 2 * (outside + 2 * max(sizes))


def test_epochs_become_steps_without_the_data(checkpoint: Path) -> None:
    data = [{"kind": "chat-ad", "path": "nowhere", "count": 1000}, {"kind": "synthetic"}]
    found = plan(checkpoint, steps=0, epochs=2, batch_size=16, data=data)
    assert (found.steps, found.samples) == (250, 4000)
    with pytest.raises(ConfigError, match="nowhere is not there"):
        plan(checkpoint, steps=0, epochs=2, data=[{"kind": "chat-ad", "path": "nowhere"}])


def test_a_checkpoint_that_is_not_there_needs_a_shape(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Train the stage before"):
        plan(tmp_path / "none")
    found = plan(tmp_path / "none", {"shape": "ad-copilot-7b"}, trains=["comparison", "queries"])
    assert found.total == 8_355_968_000
    # The encoder of 36 tensors.
    assert found.learning == 63_801_344


def test_answers_that_are_drawn_count_with_their_tokens(checkpoint: Path) -> None:
    grpo = {"group_size": 4, "max_new_tokens": 700}
    found = plan(checkpoint, trains=["language"], method="grpo", loss={}, grpo=grpo, batch_size=4)
    assert found.sample.answers == 700
    assert [item.accumulation for item in found.memory] == [1] * 3
    # Every device that draws answers has the whole model.
    assert [item.parallel for item in found.memory] == ["one", "ddp", "ddp"]


def test_numbers_of_devices_that_a_step_does_not_divide_into_are_left_out(
    cli: Callable[..., tuple[int, str, str]], checkpoint: Path, tmp_path: Path
) -> None:
    content = {**BASE, "base": {"checkpoint": str(checkpoint)}}
    stage = {**STAGE, "batch_size": 12, "device_batch_size": 1}
    recipe = write_recipe(
        TrainRecipe.model_validate({**content, "stages": [stage]}), tmp_path / "twelve.toml"
    )
    code, text, err = cli("train", recipe, "--dry-run", "--json")
    assert code == 0, err
    found = json.loads(text)
    assert [item["devices"] for item in found["stages"][0]["memory"]] == [1, 4, 4]
    assert [*found["commands"]] == ["1", "4"]
    code, text, _ = cli("train", recipe, "--dry-run")
    assert code == 0
    assert "for 8 GPUs: a step does not divide into as many" in text


def test_a_stage_that_the_model_can_not_do_has_no_plan(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="tells no types apart"):
        plan(checkpoint, loss={"map_types": 1.0})


@pytest.mark.parametrize("loss", ["anomaly_map", "map_verdict"])
def test_a_map_that_is_not_there_can_not_learn(tmp_path: Path, loss: str) -> None:
    stock = tiny_checkpoint(tmp_path / "stock", is_stock=True, is_tied=False)
    with pytest.raises(ConfigError, match=f"a loss {loss}, and the model has no anomaly map"):
        plan(stock, {"compare_token_size": 4}, loss={loss: 1.0})


def test_the_commands_are_those_for_each_number_of_devices() -> None:
    found = commands(["my recipe.toml", "--seed", "3"], parallel="fsdp")
    words = "train 'my recipe.toml' --seed 3"
    assert found[1] == [f"adcopilot-edge {words}"]
    assert found[8][0] == (
        f"accelerate launch --num_processes 8 -m adcopilot_edge {words} --parallel fsdp"
    )
    assert found[4][1] == (f"torchrun --nproc-per-node 4 -m adcopilot_edge {words} --parallel fsdp")


@pytest.mark.parametrize(
    ("name", "learning"),
    [
        # The encoder of 36 tensors, and the map's 1280 weights and bias.
        ("stage0", 63_802_625),
        # 64 times the inputs and outputs of every adapted layer, as the spec has their shapes.
        ("stage1", 64 * (28 * LAYER + ENCODER)),
        ("stage2", 64 * (28 * LAYER + ENCODER + 32 * BLOCK + MERGER)),
        ("stage3", 64 * 28 * LAYER),
    ],
)
def test_the_recipes_of_the_full_model_are_planned_without_its_weights(
    name: str, learning: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = dry_run(load_recipe(name))
    assert found.total == 8_355_968_000 + 1281
    assert found.learning == learning


def test_the_command_prints_the_plan(cli: Callable[..., tuple[int, str, str]]) -> None:
    code, text, _ = cli("train", "nano", "--dry-run", "--json")
    assert code == 0
    content = json.loads(text)
    stages = [(stage["name"], stage["steps"]) for stage in content["stages"]]
    assert stages == [("glance", 1400), ("see", 1400), ("say", 350), ("all", 550)]
    assert content["commands"]["1"] == ["adcopilot-edge train nano"]
    code, text, _ = cli("train", "nano", "--dry-run")
    assert code == 0
    assert "1,400 steps, 22,400 samples" in text
    assert "accelerate launch --num_processes 8" in text
    given = ["--seed", "7", "--steps", "9", "--out", "runs/x", "--workers", "3"]
    code, text, _ = cli("train", "nano", "--dry-run", *given)
    assert "adcopilot-edge train nano --seed 7 --steps 9 --out runs/x --workers 3" in text
