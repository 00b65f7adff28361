"""A stage of GRPO inside a recipe: from a checkpoint to a checkpoint of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train_cases import events, tiny_recipe

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.grpo_settings import grpo_settings
from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.run import train
from adcopilot_edge.training.scoring import Scored, score_sets
from adcopilot_edge.training.stage_weights import load_weights
from tests.dialogue_sets import write_dialogues

pytestmark = pytest.mark.torch


def grpo_recipe(checkpoint: Path, **changes: Any) -> TrainRecipe:
    content = tiny_recipe(3).model_dump(mode="json")
    stage = {
        "name": "think",
        "method": "grpo",
        "lora": {"parts": ["language"], "rank": 4, "alpha": 8},
        "data": [{"kind": "synthetic", "tasks": ["verdict", "locate"]}],
        "steps": 2,
        "batch_size": 2,
        "device_batch_size": 4,
        "learning_rate": 1e-2,
        "precision": "fp32",
        "grpo": {"group_size": 2, "max_new_tokens": 2, "thinking": None, "beta": 0.0},
        **changes,
    }
    content.update(model=None, base={"checkpoint": str(checkpoint)}, stages=[stage])
    return TrainRecipe.model_validate(content)


def evaluations(run: Path) -> list[dict[str, Any]]:
    return [event for event in events(run) if event["event"] == "evaluation"]


def test_the_stage_ends_as_a_checkpoint_of_the_run(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    start = train(tiny_recipe(3), tmp_path / "start", workers=0).checkpoint
    run = tmp_path / "run"
    talks = write_dialogues(tmp_path / "talks", {"validation": 2}, tasks=("choice", "locate"))
    held = {"kind": "chat-ad", "path": str(talks), "split": "validation"}
    content = grpo_recipe(start).model_dump(mode="json")
    recipe = TrainRecipe.model_validate({**content, "evaluation": [{"kind": "synthetic"}, held]})
    ended = train(recipe, run, workers=0)
    assert ended.checkpoint == run / "checkpoint-2"
    told = [event for event in events(run) if event["event"] == "answers"]
    assert [event["step"] for event in told] == [1, 2]
    before, after = evaluations(run)
    assert (before["step"], after["step"]) == (0, 2)
    assert after["scores"] == ended.scores
    assert before["scores"]["synthetic"]["verdict"] is not None
    assert ended.scores["synthetic"]["verdict"] is not None
    talked = [event["scores"]["chat-ad talks validation"] for event in (before, after)]
    assert [(item["num_dialogues"], item["num_answers"]) for item in talked] == [(3, 3)] * 2
    assert [*talked[0]["loss"]] == ["all", "choice", "locate"]
    first, last = (load_file(folder / "model.safetensors") for folder in (start, ended.checkpoint))
    assert first.keys() == last.keys()
    again = train(recipe, run, workers=0, resume=True)
    assert again.checkpoint == ended.checkpoint


def test_a_stage_that_ended_before_its_scores_is_scored_when_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    start = train(tiny_recipe(3), tmp_path / "start", workers=0).checkpoint
    run = tmp_path / "run"

    calls = []

    def die_at_the_end(*sets: Any, **settings: Any) -> Scored:
        calls.append(sets)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score_sets(*sets, **settings)

    with monkeypatch.context() as dying:
        dying.setattr("adcopilot_edge.training.run.score_sets", die_at_the_end)
        with pytest.raises(KeyboardInterrupt):
            train(grpo_recipe(start), run, workers=0)
    (before,) = evaluations(run)
    ended = train(grpo_recipe(start), run, workers=0, resume=True)
    assert evaluations(run)[0] == before
    (scored,) = evaluations(run)[1:]
    assert (scored["step"], scored["scores"]) == (2, ended.scores)
    assert ended.checkpoint == run / "checkpoint-2"


def test_a_frozen_model_in_bfloat16_keeps_its_type(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    start = train(tiny_recipe(3), tmp_path / "start", workers=0).checkpoint
    model, processor = load_weights(start, grpo_recipe(start).stages[0])
    half = tmp_path / "half"
    model.bfloat16().save_pretrained(half)
    processor.save_pretrained(half)
    ended = train(grpo_recipe(half, precision="bf16"), tmp_path / "run", workers=0)
    tensors = load_file(ended.checkpoint / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


def test_a_recipe_can_do_without_thinking(tmp_path: Path) -> None:
    recipe = grpo_recipe(tmp_path, grpo={"thinking": False})
    assert recipe.stages[0].grpo is not None
    assert recipe.stages[0].grpo.thinking is None
    assert TrainRecipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_answers_need_the_whole_model_on_each_device(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="think needs the whole model"):
        train(grpo_recipe(tmp_path), tmp_path / "run", parallel="fsdp")
    assert not (tmp_path / "run").exists()


def test_adapters_are_on_the_language_model_alone(tmp_path: Path) -> None:
    recipe = grpo_recipe(tmp_path, lora={"parts": ["tower"], "rank": 4, "alpha": 8})
    with pytest.raises(ConfigError, match="on the language model's layers"):
        grpo_settings(recipe, recipe.stages[0], num_devices=1)


def test_adapters_and_full_training_are_one_of_the_two(tmp_path: Path) -> None:
    recipe = grpo_recipe(tmp_path, trains=["merger"])
    with pytest.raises(ConfigError, match="think"):
        grpo_settings(recipe, recipe.stages[0], num_devices=1)
