"""GRPO on a tiny model: what a step changes, what it earns, and a run that goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from grpo_cases import ConstantKey, run_settings, undecided_checkpoint
from safetensors.torch import load_file
from train_cases import tiny_recipe
from transformers import TrainingArguments

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.arguments import stage_arguments
from adcopilot_edge.training.grpo import (
    adapters_of,
    known_warnings,
    train_grpo,
    trainer_arguments,
)
from adcopilot_edge.training.grpo_log import Rewards
from adcopilot_edge.training.grpo_prompts import Prompts, as_dataset
from adcopilot_edge.training.grpo_recipe import GrpoRecipe, GrpoRun
from adcopilot_edge.training.grpo_trainer import PairGrpoTrainer
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.model_parts import part_of
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.schedule import plan_stages

pytestmark = [pytest.mark.torch]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Products of tiny matrices gain nothing from more, and waiting threads cost."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with known_warnings():
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undecided_checkpoint(tmp_path_factory.mktemp("start"))


def run_once(start: Path, run: Path, prompts: Prompts, chosen: GrpoRun, **more: Any) -> list[Any]:
    events: list[Any] = []
    train_grpo(start, prompts, chosen, run, report=events.append, **more)
    return events


def samples(run: Path, step: int) -> list[dict[str, Any]]:
    text = (run / "samples" / f"step-{step:06}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_step_changes_the_language_model_and_nothing_else(start: Path, tmp_path: Path) -> None:
    events = run_once(start, tmp_path, ConstantKey("A"), run_settings(1))
    assert [event["event"] for event in events] == ["start", "step", "checkpoint", "done"]
    before = load_file(start / "model.safetensors")
    after = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert {part_of(name) for name in changed} == {"language"}

    lines = samples(tmp_path, 1)
    assert len(lines) == 8
    assert {line["completion"] == "A" for line in lines} == {True, False}
    assert all(line["task"] == float(line["completion"] == "A") for line in lines)
    mean = sum(line["task"] for line in lines) / 8
    assert events[1]["rewards"] == {"choice": pytest.approx(mean, abs=1e-3)}
    assert events[1]["reward"] == pytest.approx(mean + 0.5 * events[1]["format_share"], abs=1e-3)
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_reward_rises(start: Path, tmp_path: Path) -> None:
    chosen = run_settings(14, learning_rate=4e-3)
    events = run_once(start, tmp_path, ConstantKey("B"), chosen, held_out=ConstantKey("B", 2))
    shares = [event["rewards"]["choice"] for event in events if event["event"] == "step"]
    assert shares[0] < 0.8
    assert sum(shares[-4:]) / 4 > 0.9, shares
    scores = [event for event in events if event["event"] == "evaluation"]
    assert [event["step"] for event in scores] == [0, 14]
    assert scores[-1]["scores"]["rewards"] == {"choice": 1.0}


def test_what_is_scored_is_what_was_said(start: Path, tmp_path: Path) -> None:
    """trl runs the model anew over prompt and answer: positions, pairs and padding must agree."""
    chosen = run_settings(1, grpo={"group_size": 2, "max_new_tokens": 3, "beta": 0.1})
    chosen = chosen.model_copy(update={"device_batch_size": 4})
    prompts = ConstantKey("A", 8)
    assert chosen.lora
    args = trainer_arguments(chosen, tmp_path)
    rewards = Rewards(chosen.grpo, tmp_path, every=1, is_writer=False)
    args.reward_weights, args.report_to = rewards.weights, []
    trainer = PairGrpoTrainer(
        ADCopilotForConditionalGeneration.from_pretrained(start),
        ADCopilotProcessor.from_pretrained(start),
        args=args,
        rewards=rewards.functions,
        rows=as_dataset(prompts, count=2, seed=0, at_once=2),
        adapters=adapters_of(chosen.lora),
    )
    policy: Any = trainer.model
    model = policy.get_base_model()
    logits: list[torch.Tensor] = []
    generate = model.generate

    def watched(**more: Any) -> torch.Tensor:
        made = generate(**more, output_logits=True, return_dict_in_generate=True)
        logits.append(torch.stack(made.logits, 1))
        sequences = made.sequences
        assert isinstance(sequences, torch.Tensor)
        return sequences

    model.generate = watched
    # Questions of two lengths, so that one row is padded.
    long, short = sorted((prompts[place] for place in range(8)), key=lambda p: -len(str(p)))[::7]
    rows = [
        {"prompt": p.messages, "images": list(p.images), "truth": p.truth, "key": p.key}
        for p in (long, long, short, short)
    ]
    policy.train()
    scored = trainer._generate_and_score_completions(rows)
    ids, mask = scored["completion_ids"], scored["completion_mask"].bool()
    said = logits[0][:, : ids.shape[1]].log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    torch.testing.assert_close(scored["ref_per_token_logps"][mask], said[mask])
    assert scored["num_images"] == [2] * 4


class KilledError(Exception):
    """Stands for a crash."""


@pytest.mark.parametrize(
    "changes", [{}, {"lora": None, "trains": ("language",)}], ids=["adapters", "in full"]
)
def test_a_resumed_run_ends_as_one_that_was_not_stopped(
    start: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    chosen = run_settings(4, learning_rate=1e-3, **changes)
    whole = run_once(start, tmp_path / "whole", ConstantKey("A"), chosen)

    def kill(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 3:
            raise KilledError

    home = tmp_path / "home"
    begun = Path(shutil.copytree(start, home / "start"))
    prompts, run = ConstantKey("A"), home / "stopped"
    with pytest.raises(KilledError):
        train_grpo(begun, prompts, chosen, run, report=kill)
    broken = run / "trainer" / "checkpoint-3"
    broken.mkdir()
    (broken / "trainer_state.json").write_text("{", encoding="utf-8")

    with pytest.raises(ConfigError, match="--resume"):
        run_once(begun, run, prompts, chosen)
    other = chosen.model_copy(update={"learning_rate": 1.0})
    with pytest.raises(ConfigError, match=r"learning_rate is 0\.001 there, 1\.0 here"):
        run_once(begun, run, prompts, other, resume=True)
    # It may be moved with what it started from, and keep its samples at other steps.
    moved = home.rename(tmp_path / "moved")
    seldom = chosen.model_copy(update={"samples_every_steps": 2})
    run = moved / "stopped"
    rest = run_once(moved / "start", run, prompts, seldom, resume=True)
    assert rest[0] == {**whole[0], "step": 2}
    steps = [[event for event in events if event["event"] == "step"] for events in (whole, rest)]
    assert steps[1] == steps[0][2:]
    assert all(event["kl"] >= 0 for event in steps[0])
    assert steps[0][-1]["kl"] > 0
    ends = [
        load_file(folder / "checkpoint" / "model.safetensors")
        for folder in (tmp_path / "whole", run)
    ]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora": None}, "one of the two"),
        ({"trains": ("language",)}, "one of the two"),
        ({"grpo": {"iterations": 3}}, "multiple of iterations"),
        ({"grpo": {"group_size": 1}}, "group_size"),
        ({"grpo": {"surprise": 1}}, "surprise"),
    ],
)
def test_settings_that_make_no_run(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_settings(2, **changes)


def test_completions_that_do_not_divide(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="do not divide into 1 devices with 3 at once"):
        trainer_arguments(run_settings(1, device_batch_size=3), tmp_path)


def test_a_process_that_is_alone_uses_one_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 4))
    recipe = tiny_recipe(3)
    (plan, *_) = plan_stages(recipe)
    for arguments in (
        trainer_arguments(run_settings(1), tmp_path),
        stage_arguments(recipe, plan, tmp_path, workers=0, parallel="ddp"),
    ):
        assert arguments._n_gpu == 1


def test_a_weight_of_nothing_leaves_a_term_out(tmp_path: Path) -> None:
    recipe = GrpoRecipe.model_validate({"reward": {"format": 0.3, "boxes": 0}})
    rewards = Rewards(recipe, tmp_path, every=1, is_writer=False)
    assert [function.__name__ for function in rewards.functions] == [
        "format", "choice", "boxes", "normal",
    ]  # fmt: skip
    assert rewards.weights == [0.3, 1.0, 0.0, 0.0]
