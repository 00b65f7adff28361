"""Prompts with a truth: about pairs made on the way, and about Chat-AD's samples on disk."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.prompt import DEFAULT_PROMPT, SWAPPED_VERDICT
from adcopilot_edge.training.chat_ad.sample import ChatSample, Turn
from adcopilot_edge.training.chat_ad.shards import StoredSample
from adcopilot_edge.training.greedy import inputs_of
from adcopilot_edge.training.grpo_prompts import (
    ChatPrompts,
    PairPrompts,
    as_dataset,
)
from adcopilot_edge.training.image_rule import ImageRule, image_rule, taking_any_size
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.stage_data import SyntheticPairs
from adcopilot_edge.training.thinking import ThinkingTags
from adcopilot_edge.types import LabelledPair

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> ADCopilotProcessor:
    folder = tiny.tiny_checkpoint(tmp_path_factory.mktemp("processor"))
    return ADCopilotProcessor.from_pretrained(folder)


def pairs(count: int = 8, **more: Any) -> PairPrompts:
    return PairPrompts(SyntheticPairs(), count=count, size=112, **more)


def words(prompt: Any) -> str:
    text = prompt.messages[-1]["content"][-1]["text"]
    assert isinstance(text, str)
    return text


def test_a_pair_is_asked_as_the_runtime_asks(processor: ADCopilotProcessor) -> None:
    prompt = pairs(tasks=("locate",))[0]
    ids = inputs_of(processor, [prompt])["input_ids"][0].tolist()
    text = DEFAULT_PROMPT.golden + DEFAULT_PROMPT.test + DEFAULT_PROMPT.ask_task("locate")
    whole = processor(text=[text], images=list(prompt.images), return_tensors="pt")
    assert ids == whole["input_ids"][0].tolist()


def test_truths_of_pairs() -> None:
    source = SyntheticPairs()
    kinds = set()
    for place in range(8):
        pair = source.pair(place, size=112)
        located, decided = pairs(tasks=("locate",))[place], pairs(tasks=("verdict",))[place]
        kinds.add(located.truth.kind)
        assert located.truth.boxes == pair.boxes
        assert located.truth.kind == ("boxes" if pair.boxes else "normal")
        is_swapped = SWAPPED_VERDICT in words(decided)
        assert decided.truth.choice == ("A" if pair.is_anomaly != is_swapped else "B")
        assert np.array_equal(np.asarray(decided.images[1]), pair.test)
    assert kinds == {"boxes", "normal"}


def test_prompts_of_pairs_are_the_same_in_every_run() -> None:
    first, second = pairs(), pairs()
    for place in (5, 1, 3):
        assert words(first[place]) == words(second[place])
        assert first[place].truth == second[place].truth


class Unplaced:
    """Every second part is bad, and nobody knows where; with ``is_all`` each one is."""

    def __init__(self, *, is_all: bool = False) -> None:
        self._is_all = is_all

    def pair(self, number: int, *, size: int) -> LabelledPair:
        picture = np.zeros((size, size, 3), np.uint8)
        is_bad = self._is_all or number % 2 == 0
        return LabelledPair(
            name=f"part {number}", category="c", golden=picture, test=picture, is_unplaced=is_bad
        )


def test_nobody_is_asked_where_an_unplaced_defect_is() -> None:
    both = PairPrompts(Unplaced(), count=9, size=112)
    assert {both[place].truth.kind for place in range(0, 9, 2)} == {"choice"}
    # Of an odd number of prompts, the one further on is of the other kind.
    places = PairPrompts(Unplaced(), count=9, size=112, tasks=("locate",))
    assert {places[place].truth.kind for place in range(9)} == {"normal"}
    with pytest.raises(DatasetError, match="add boxes or masks"):
        PairPrompts(Unplaced(is_all=True), count=9, size=112, tasks=("locate",))[0]


def test_pixels_instead_of_boxes() -> None:
    masked, boxed = pairs(tasks=("locate",), is_masked=True), pairs(tasks=("locate",))
    places = [place for place in range(8) if boxed[place].truth.kind == "boxes"]
    assert places
    for place in places:
        inner, outer = masked[place].truth.places, boxed[place].truth.places
        assert not (inner & ~outer).any()
        assert inner.sum() < outer.sum()


def test_thinking_is_asked_for_in_the_last_question() -> None:
    tags = ThinkingTags()
    assert words(pairs(tags=tags)[0]).endswith(tags.request)


def test_tasks_that_can_not_be_checked_are_refused() -> None:
    with pytest.raises(ConfigError, match="describe"):
        pairs(tasks=("describe",))


def sample(folder: Path, **changes: Any) -> ChatSample:
    grey = np.random.default_rng(0).integers(0, 255, (100, 200, 3), dtype=np.uint8)
    for name in ("template", "query"):
        Image.fromarray(grey).save(folder / f"{name}.png")
    standard: dict[str, Any] = {
        "key": "set/1:locate", "pair": "set/1", "source": "set", "category": "nut",
        "split": "train", "task": "locate", "template": folder / "template.png",
        "query": folder / "query.png", "query_size": (200, 100),
        "turns": (Turn("user", "Is <bbox> fine? Where is it not?"), Turn("assistant", "[<bbox>]")),
        "is_anomaly": True, "bboxes": ((0.0, 0.0, 100.0, 50.0), (20.0, 10.0, 60.0, 50.0)),
        "boxes": ((20.0, 10.0, 60.0, 50.0),), "labels": ("dent",),
    }  # fmt: skip
    return ChatSample(**{**standard, **changes})


def rule(processor: ADCopilotProcessor) -> ImageRule:
    size = processor.image_processor.size
    return image_rule(processor, 112, (size["shortest_edge"], size["longest_edge"]))


def stored(one: ChatSample) -> StoredSample:
    return StoredSample(one, None, None)


def test_boxes_of_a_sample_are_in_pixels_that_the_model_sees(
    tmp_path: Path, processor: ADCopilotProcessor
) -> None:
    prompt = ChatPrompts([stored(sample(tmp_path))], rule(processor))[0]
    assert prompt.images[1].size == (196, 112)  # the next sizes that 28 divides
    assert (prompt.truth.height, prompt.truth.width) == (112, 196)
    x1, y1, x2, y2 = prompt.truth.boxes[0]
    assert (x1, x2) == pytest.approx((20 * 196 / 200, 60 * 196 / 200))
    assert (y1, y2) == pytest.approx((10 * 112 / 100, 50 * 112 / 100))
    assert "Is [0, 0, 98, 56] fine?" in words(prompt)
    grid = inputs_of(processor, [prompt])["image_grid_thw"].tolist()
    assert grid == [[1, 8, 14]] * 2


def test_without_limits_images_become_squares(
    tmp_path: Path, processor: ADCopilotProcessor
) -> None:
    prompt = ChatPrompts([stored(sample(tmp_path))], image_rule(processor, 112, None))[0]
    assert [image.size for image in prompt.images] == [(112, 112)] * 2
    assert prompt.truth.boxes[0] == pytest.approx((11.2, 11.2, 33.6, 56.0))


def test_sizes_that_were_chosen_stay_whatever_the_checkpoint_is_made_for(
    tmp_path: Path, processor: ADCopilotProcessor
) -> None:
    small = copy(processor)
    small.image_processor = copy(processor.image_processor)
    small.image_processor.size = {"shortest_edge": 112**2, "longest_edge": 112**2}
    prompt = ChatPrompts([stored(sample(tmp_path))], image_rule(small, 224, None))[0]
    assert inputs_of(small, [prompt])["image_grid_thw"].tolist() == [[1, 8, 8]] * 2
    grid = inputs_of(taking_any_size(small), [prompt])["image_grid_thw"].tolist()
    assert grid == [[1, 16, 16]] * 2
    assert small.image_processor.size["longest_edge"] == 112**2


def test_the_turns_before_the_last_question_stay(
    tmp_path: Path, processor: ADCopilotProcessor
) -> None:
    turns = (
        Turn("user", "What is this?"),
        Turn("assistant", "A nut."),
        Turn("user", "Which? A. dent B. none"),
        Turn("assistant", "A"),
    )
    chosen = sample(tmp_path, task="choice", turns=turns, bboxes=(), choice="A")
    prompt = ChatPrompts([stored(chosen)], rule(processor), tags=ThinkingTags())[0]
    assert [message["role"] for message in prompt.messages] == ["user", "assistant", "user"]
    assert prompt.truth.kind == "choice"
    assert prompt.truth.choice == "A"
    assert prompt.messages[0]["content"][-1]["text"].endswith("What is this?")
    assert words(prompt) == "Which? A. dent B. none" + ThinkingTags().request


def test_only_samples_with_a_truth_are_taken(tmp_path: Path, processor: ADCopilotProcessor) -> None:
    plain = sample(tmp_path, bboxes=(), turns=(Turn("user", "Where?"), Turn("assistant", "[]")))
    normal = replace(plain, is_anomaly=False, boxes=(), labels=())
    unplaced = replace(plain, boxes=(), labels=())
    caption = replace(plain, task="caption")
    keyless = replace(plain, task="choice")
    prompts = ChatPrompts(
        [stored(one) for one in (plain, normal, unplaced, caption, keyless)], rule(processor)
    )
    assert [prompts[place].truth.kind for place in range(len(prompts))] == ["boxes", "normal"]


def test_a_picture_of_another_size_than_the_set_says(
    tmp_path: Path, processor: ADCopilotProcessor
) -> None:
    prompts = ChatPrompts([stored(sample(tmp_path, query_size=(300, 100)))], rule(processor))
    with pytest.raises(DatasetError, match="200x100 pixels, the set says 300x100"):
        prompts[0]


def test_rows_go_round_in_a_fixed_order() -> None:
    rows = as_dataset(pairs(3), count=7, seed=0, at_once=2)
    keys = [rows[place]["key"] for place in range(7)]
    assert len(rows) == 7
    assert set(keys[:3]) == set(keys[3:6])
    assert len(set(keys[:3])) == 3
    again = as_dataset(pairs(3), count=7, seed=0, at_once=2)
    assert [again[place]["key"] for place in (6, 0, 3)] == [keys[place] for place in (6, 0, 3)]


def test_no_prompts_are_refused() -> None:
    with pytest.raises(ConfigError, match="give more samples"):
        as_dataset(pairs(0), count=4, seed=0, at_once=2)
