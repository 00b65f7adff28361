"""Thoughts before an answer: the layout to the letter, and what is read where it is not kept."""

from __future__ import annotations

import random

import pytest
from pydantic import ValidationError

from adcopilot_edge.training.thinking import Completion, ThinkingTags, asked, split_completion

TAGS = ThinkingTags()
GOOD = "<think>a scratch</think>\n<answer>B</answer>"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        " \n" + GOOD + "\n ",
        "<think>\nlong\nthought\n</think><answer>\n[]\n</answer>",
    ],
)
def test_the_layout_to_the_letter(text: str) -> None:
    found = split_completion(text, TAGS)
    assert found.is_well_formed
    assert found.thought
    assert found.answer in ("B", "[]")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        # Words around the parts, or an empty thought: not in the layout, but the answer is clear.
        ("Sure. " + GOOD, "B"),
        (GOOD + " I hope this helps.", "B"),
        ("<think>a</think> so <answer>B</answer>", "B"),
        ("<think> </think><answer>B</answer>", "B"),
        ("<answer>B</answer>", "B"),
        ("<answer>B</answer><think>a scratch</think>", "B"),
        ("<think>a scratch</think> B", "B"),
        # Nothing tells which words are the answer.
        ("", None),
        ("B", None),
        ("<think>B", None),
        ("<think>a</think>", None),
        ("<think>a</think><answer></answer>", None),
        ("<think>a</think><answer>B", None),
        ("<think>a</think>B</answer>", None),
        ("</answer>B<answer>", None),
        ("<think>a<answer>B</answer>", None),
        # A tag twice: whoever writes several answers has given none.
        ("<think>a</think><answer>A</answer><answer>B</answer>", None),
        ("<answer>A</answer><think>a</think><answer>B</answer>", None),
        ("<think>a</think><think>b</think><answer>B</answer>", None),
        ("<think>a</think><answer>A<answer>B</answer></answer>", None),
        (GOOD * 2, None),
    ],
)
def test_what_is_not_well_formed(text: str, answer: str | None) -> None:
    found = split_completion(text, TAGS)
    assert not found.is_well_formed
    assert found.answer == answer


def test_an_answer_inside_the_thought_is_not_well_formed() -> None:
    found = split_completion("<think>a <answer>B</answer></think>", TAGS)
    assert not found.is_well_formed


def test_other_tags() -> None:
    tags = ThinkingTags(
        think_open="[T]", think_close="[/T]", answer_open="[A]", answer_close="[/A]"
    )
    assert split_completion("[T]x[/T] [A]y[/A]", tags) == Completion("x", "y", True)
    assert not split_completion(GOOD, tags).is_well_formed


def test_without_tags_the_whole_text_is_the_answer() -> None:
    assert split_completion(" B. \n", None) == Completion(None, "B.", True)
    assert split_completion(" \n", None) == Completion(None, None, False)


def test_the_request_names_each_tag() -> None:
    question = asked("Is there a defect?", TAGS)
    assert question.startswith("Is there a defect? ")
    assert all(tag in question for tag in TAGS.all)
    assert asked("Is there a defect?", None) == "Is there a defect?"


@pytest.mark.parametrize(
    "wrong",
    [{"think_open": ""}, {"answer_open": " <a>"}, {"think_open": "<answer"}, {"tag": "<x>"}],
)
def test_wrong_tags_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ThinkingTags(**wrong)


def test_any_text_can_be_taken_apart() -> None:
    rng = random.Random(0)
    parts = [*TAGS.all, "A", " ", "\n", "<", "think>", "é\ud800", "[]"]
    for _ in range(3000):
        text = "".join(rng.choices(parts, k=rng.randrange(9)))
        found = split_completion(text, TAGS)
        assert found.answer is None or found.answer in text
        if found.is_well_formed:
            assert found.answer
            assert found.thought
            assert all(text.count(tag) == 1 for tag in TAGS.all)
