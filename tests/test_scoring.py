"""An evaluation while training: how many pairs are asked in words, and what that comes to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tiny import tiny_config, tiny_model, tiny_processor

from adcopilot_edge.training.sample_builder import sample_builder
from adcopilot_edge.training.scoring import NUM_SHOWN, score_sets
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import LabelledPair, Task

pytestmark = pytest.mark.torch

BAD = [generate_pair(seed, size=112, num_defects=(1, 1)).to_labelled() for seed in range(20)]
GOOD = generate_pair(0, size=112, num_defects=(0, 0)).to_labelled()


def right(pair: LabelledPair) -> str:
    boxes = zip(pair.boxes, pair.labels, strict=True)
    return json.dumps([{"bbox_2d": box, "label": label} for box, label in boxes])


def scored(pairs: list[LabelledPair], *, num_answers: int) -> dict[str, Any]:
    config = tiny_config()
    processor = tiny_processor()
    found = score_sets(
        tiny_model(config),
        processor,
        sample_builder(config, processor, 112),
        {"made": pairs},
        has_text=True,
        batch_size=32,
        num_answers=num_answers,
        margin=0,
    )
    return found.scores["made"]


def test_boxes_in_words_are_those_of_the_bad_pairs_and_no_pair_is_asked_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Task, int]] = []

    def answer(model: object, _: object, builder: object, pairs: Any, task: Task) -> list[str]:
        asked.append((task, len(pairs)))
        return ["[]" if pair is BAD[0] else right(pair) for pair in pairs]

    monkeypatch.setattr("adcopilot_edge.training.scoring.answer_pairs", answer)
    scores = scored([GOOD, *BAD], num_answers=18)
    assert asked == [("locate", 16), ("locate", 3), ("describe", NUM_SHOWN)]
    assert (scores["num_pairs"], scores["num_answers"]) == (21, 18)
    assert scores["text_miou"] == pytest.approx(17 / 18)


def test_without_a_bad_pair_nothing_is_known_of_boxes_in_words() -> None:
    scores = scored([GOOD], num_answers=4)
    assert (scores["num_answers"], scores["text_miou"]) == (0, None)
