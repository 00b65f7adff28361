"""GRPO on a tiny model: what a step changes, what it earns, and a run that goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from grpo_cases import ConstantKey, run_settings, undecided_checkpoint
from safetensors.torch import load_file

from adcopilot_edge.training.grpo import train_grpo
from adcopilot_edge.training.grpo_prompts import Prompts
from adcopilot_edge.training.grpo_recipe import GrpoRun
from adcopilot_edge.training.parts import part_of

pytestmark = [pytest.mark.torch]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Products of tiny matrices gain nothing from more, and waiting threads cost."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
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
    assert [event["step"] for event in events if event["event"] == "evaluation"] == [0, 14]
    assert events[-2]["scores"]["rewards"] == {"choice": 1.0}
