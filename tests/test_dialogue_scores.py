"""Dialogues of a curated set as something to be scored on: losses, tokens and answers, by task."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)
from torch import nn
from train_cases import events, losses, started_from, tiny_recipe

from adcopilot_edge.commands.train_progress import scores_line
from adcopilot_edge.training.batch import Batch
from adcopilot_edge.training.curves import draw_curves, read_curves
from adcopilot_edge.training.dialogue_scores import hear_dialogues, summarise_dialogues
from adcopilot_edge.training.dialogues import DialogueSamples, open_dialogues
from adcopilot_edge.training.forward import Outputs, Words
from adcopilot_edge.training.grpo_prompts import Prompt
from adcopilot_edge.training.grpo_recipe import GrpoRecipe
from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.run import train
from adcopilot_edge.training.sample_builder import sample_builder
from adcopilot_edge.training.scoring import score_sets
from tests.dialogue_sets import SIDE, write_dialogues

pytestmark = pytest.mark.torch

NAME = "chat-ad set validation"


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dialogues of each task to train on, and the same ones held out."""
    folder = tmp_path_factory.mktemp("curated") / "set"
    return write_dialogues(folder, {"train": 3, "validation": 3})


def opened(folder: Path, **more: Any) -> DialogueSamples:
    return open_dialogues(str(folder), split="validation", **{"tasks": None, "count": None, **more})


class Oracle(nn.Module):
    """Finds each labelled token likeliest, but for every ``miss``-th one."""

    def __init__(self, miss: int | None = None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(100.0))
        self._miss = miss

    def forward(self, batch: Batch, *, has_text: bool) -> Outputs:
        wanted = batch.text.kinds[:, 1:] >= 0
        labels = batch.text.labels[:, 1:][wanted]
        said = labels.clone()
        if self._miss:
            said[:: self._miss] += 1
        logits = self.scale * nn.functional.one_hot(said, tiny.RECIPE.vocab_size).float()
        return Outputs(Words(logits, labels, batch.text.kinds[:, 1:][wanted]), None)


def test_a_model_that_is_right_about_every_token_has_no_loss(curated: Path) -> None:
    builder = sample_builder(tiny.tiny_config(), tiny.tiny_processor(), SIDE)
    dialogues = opened(curated)
    model = Oracle()
    heard = hear_dialogues(model, builder, dialogues, batch_size=5)
    assert model.training
    scores = summarise_dialogues(dialogues.size, heard, [])
    assert [*scores.loss] == ["all", "caption", "dialogue", "choice", "locate"]
    assert set(scores.loss.values()) == {0.0}
    assert set(scores.token_accuracy.values()) == {1.0}
    # Of one dialogue at a time, the first token is wrong, and it is one of so many.
    wrong = hear_dialogues(Oracle(miss=1_000), builder, dialogues, batch_size=1)
    assert [item.tokens - item.right for item in wrong] == [1] * 12
    tokens = sum(item.tokens for item in wrong)
    scores = summarise_dialogues(12, wrong, [])
    assert scores.token_accuracy["all"] == pytest.approx(1 - 12 / tokens)
    assert scores.loss["all"] == pytest.approx(100 * 12 / tokens, rel=1e-6)


def test_scores_do_not_depend_on_the_batch(curated: Path) -> None:
    model = tiny.tiny_model(tiny.tiny_config())
    builder = sample_builder(model.config, tiny.tiny_processor(), SIDE)
    one, many = (
        hear_dialogues(model, builder, opened(curated), batch_size=size) for size in (1, 12)
    )
    assert [item.loss for item in one] == pytest.approx([item.loss for item in many], rel=1e-4)
    assert [item.tokens for item in one] == [item.tokens for item in many]


def scored(dialogues: DialogueSamples, **settings: Any) -> dict[str, Any]:
    model = tiny.tiny_model(tiny.tiny_config())
    processor = tiny.tiny_processor()
    builder = sample_builder(model.config, processor, SIDE)
    words = {"has_text": True, "batch_size": 4, "num_answers": 32, "margin": 0, **settings}
    found = score_sets(model, processor, builder, {"made": dialogues}, **words)
    assert not found.sheets
    return found.scores["made"]


def say(monkeypatch: pytest.MonkeyPatch, words: Callable[[Prompt], str]) -> list[Prompt]:
    """Let every answer be ``words``; the prompts that are asked come into the list."""
    asked: list[Prompt] = []

    def answer(_: object, __: object, batch: list[Prompt], *, max_new_tokens: int) -> list[str]:
        asked.extend(batch)
        return [words(prompt) for prompt in batch]

    monkeypatch.setattr("adcopilot_edge.training.dialogue_answers.greedy_answers", answer)
    return asked


def right(prompt: Prompt) -> str:
    if prompt.truth.choice:
        return prompt.truth.choice
    return json.dumps([{"bbox_2d": box, "label": "scratch"} for box in prompt.truth.boxes])


def test_answers_earn_by_the_kind_of_their_truth(
    curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = say(monkeypatch, right)
    scores = scored(opened(curated))
    assert (scores["num_dialogues"], scores["num_answers"], len(asked)) == (12, 6, 6)
    assert scores["answers"] == {"choice": 1.0, "normal": 1.0, "boxes": 1.0}
    say(monkeypatch, lambda prompt: "[]" if prompt.truth.kind != "choice" else "A")
    assert scored(opened(curated))["answers"] == {"choice": 0.0, "normal": 1.0, "boxes": 0.0}


def test_not_more_dialogues_are_answered_than_asked_for(
    curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = say(monkeypatch, right)
    assert scored(opened(curated), num_answers=3)["num_answers"] == 3
    assert [prompt.truth.kind for prompt in asked] == ["choice", "normal", "choice"]


def test_a_stage_that_thinks_is_asked_to(curated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grpo = GrpoRecipe()
    assert grpo.thinking is not None
    asked = say(monkeypatch, lambda p: f"<think>so</think><answer>{right(p)}</answer>")
    scores = scored(opened(curated), grpo=grpo)
    ends = {prompt.messages[-1]["content"][-1]["text"][-40:] for prompt in asked}
    assert ends == {grpo.thinking.request[-40:]}
    assert set(scores["answers"].values()) == {1.0}


def test_words_that_nobody_trains_are_not_scored(curated: Path) -> None:
    scores = scored(opened(curated), has_text=False)
    assert scores == {
        "num_dialogues": 12,
        "num_answers": 0,
        "loss": {},
        "token_accuracy": {},
        "answers": {},
    }
    assert scores_line(NAME, scores) == f"{NAME} (12 dialogues): no words yet"


def test_a_part_of_a_set_is_drawn_from_all_of_it(tmp_path: Path) -> None:
    folder = write_dialogues(tmp_path / "set", {"validation": 4}, categories=5)
    dialogues = opened(folder, count=20, is_drawn=True)
    drawn = [dialogues.stored(number).sample.key for number in range(dialogues.size)]
    assert len(set(drawn)) == 20
    assert len({key.split("-")[0] for key in drawn}) > 3
    assert len({dialogues.task(number) for number in range(20)}) == 4
    assert [key.split("-")[0] for key in drawn] == sorted(key.split("-")[0] for key in drawn)
    again = opened(folder, count=20, is_drawn=True)
    assert drawn == [again.stored(number).sample.key for number in range(20)]
    # Training takes the first ones, and all of a set are all of it.
    assert {opened(folder, count=16).stored(n).sample.category for n in range(16)} == {"part 0"}
    assert opened(folder, count=99, is_drawn=True).size == 80


def test_a_run_is_scored_on_dialogues_as_it_trains_on_them(curated: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    content = started_from(
        tiny_recipe(3), tiny.tiny_checkpoint(tmp_path / "start"), batch_size=12, learning_rate=1e-12
    ).model_dump(mode="json")
    stage = {
        **content["stages"][2],
        "steps": 1,
        "data": [{"kind": "chat-ad", "path": str(curated)}],
        "loss": {"text": 1.0},
        "warmup_steps": 0,
        "min_pixels": 28 * 28,
        "max_pixels": 84 * 84,
    }
    held = {"kind": "chat-ad", "path": str(curated), "split": "validation", "count": 12}
    content.update(
        stages=[stage],
        evaluation=[{"kind": "synthetic"}, held],
        schedule={**content["schedule"], "evaluation_answers": 2},
    )
    run = tmp_path / "run"
    trained = train(TrainRecipe.model_validate(content), run, workers=0)
    (scores,) = [event["scores"] for event in events(run) if event["event"] == "evaluation"]
    assert [*scores] == ["synthetic", NAME]
    assert trained.scores == scores
    found = scores[NAME]
    # Both are means over the same tokens, before and after a step that changes next to nothing.
    assert found["loss"]["all"] == pytest.approx(losses(run)[1]["text"], abs=1e-3)
    assert 0 <= found["token_accuracy"]["all"] <= 1
    assert (found["num_dialogues"], found["num_answers"]) == (12, 2)
    line = scores_line(NAME, found)
    assert line.startswith(f"{NAME} (12 dialogues): loss {found['loss']['all']:.3f}, caption ")
    assert "answers of 2: " in line
    curves = read_curves(run)
    assert curves[f"{NAME}: loss of what is said"] == [(1, found["loss"]["all"])]
    assert f"{NAME}: tokens of what is said, share predicted" in curves
    draw_curves({"run": curves})
    board = EventAccumulator(str(run / "tensorboard")).Reload()
    (shown,) = board.Scalars(f"{NAME}/loss/all")
    assert (shown.step, shown.value) == (1, pytest.approx(found["loss"]["all"]))
    assert f"{NAME}/answers/choice" in board.Tags()["scalars"]
