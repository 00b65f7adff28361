"""What answers earn, and that no trick earns more than an honest answer."""

from __future__ import annotations

import random

import numpy as np
import pytest

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.metrics import box_mask_iou
from adcopilot_edge.training.rewards import Truth, chosen_option, format_reward, task_reward
from adcopilot_edge.training.thinking import ThinkingTags

TAGS = ThinkingTags()
CHOICE = Truth(kind="choice", height=56, width=84, choice="B")
BOXES = ((10.0, 10.0, 30.0, 30.0), (40.0, 8.0, 60.0, 20.0))
PLACES = Truth(kind="boxes", height=56, width=84, boxes=BOXES)
NORMAL = Truth(kind="normal", height=56, width=84)


def inside(answer: str) -> str:
    return f"<think>The query differs.</think><answer>{answer}</answer>"


def box(*corners: float, label: str = "scratch") -> str:
    return f'{{"bbox_2d": {list(corners)}, "label": "{label}"}}'


@pytest.mark.parametrize(
    ("answer", "earned"),
    [
        ("B", 1), ("B.", 1), ("(B)", 1), ("B. a scratch", 1), ("The answer is B", 1),
        ("not A but B", 1), ("A", 0), ("b", 0), ("BB", 0), ("Bad", 0), ("42", 0),
        # The last letter that stands alone counts, so a list of them is its last one.
        ("A B C D E", 0), ("A, C, D, B", 1), ("B or A", 0), ("B B B A", 0),
    ],
)  # fmt: skip
def test_choice(answer: str, earned: float) -> None:
    assert task_reward(inside(answer), CHOICE, TAGS) == earned
    assert task_reward(answer, CHOICE, None) == earned


def test_a_list_of_all_options_earns_what_a_guess_does() -> None:
    truths = [Truth(kind="choice", height=8, width=8, choice=letter) for letter in "ABCD"]
    mean = sum(task_reward(inside("A B C D"), truth, TAGS) for truth in truths) / 4
    assert mean == 0.25


def test_only_the_answer_counts_not_the_thought() -> None:
    assert task_reward("<think>B B B</think><answer>A</answer>", CHOICE, TAGS) == 0
    assert task_reward("<think>A?</think><answer>B</answer>", CHOICE, TAGS) == 1
    assert task_reward("<think>It is B", CHOICE, TAGS) == 0


@pytest.mark.parametrize("text", ["<answer>A</answer><answer>B</answer>", inside("B") * 2])
def test_several_answers_earn_nothing(text: str) -> None:
    assert task_reward(text, CHOICE, TAGS) == 0
    assert format_reward(text, TAGS) == 0


def test_places() -> None:
    whole = f"[{box(10, 10, 30, 30)}, {box(40, 8, 60, 20)}]"
    assert task_reward(inside(whole), PLACES, TAGS) == 1
    assert task_reward(inside(f"```json\n{whole}\n```"), PLACES, TAGS) == 1
    half = task_reward(inside(f"[{box(10, 10, 30, 30)}]"), PLACES, TAGS)
    assert half == box_mask_iou(BOXES[:1], BOXES, 56, 84) == 400 / 640
    # Neither the labels nor how many boxes cover a place change anything.
    doubled = f"[{box(10, 10, 30, 30, label='dent')}, {box(10, 10, 20, 30)}]"
    assert task_reward(inside(doubled), PLACES, TAGS) == half


def test_the_whole_image_earns_no_more_than_the_share_of_the_defects() -> None:
    everything = task_reward(inside(f"[{box(0, 0, 84, 56)}]"), PLACES, TAGS)
    assert everything == 640 / (84 * 56)
    tiles = [box(x, y, x + 7, y + 7) for x in range(0, 84, 7) for y in range(0, 56, 7)]
    assert task_reward(inside(f"[{', '.join(tiles)}]"), PLACES, TAGS) == everything
    assert task_reward(inside(f"[{box(-9e9, -9e9, 9e9, 9e9)}]"), PLACES, TAGS) == everything


def test_several_lists_are_one_answer() -> None:
    guesses = f"[{box(10, 10, 30, 30)}] or [{box(0, 0, 84, 56)}]"
    assert task_reward(inside(guesses), PLACES, TAGS) == 640 / (84 * 56)


@pytest.mark.parametrize(
    "answer", ["", "[]", "No defect", "none", "[1, 2, 3, 4]", "[{}]", f"[{box(5, 5, 5, 9)}]", "B"]
)
def test_what_is_no_place_earns_nothing(answer: str) -> None:
    assert task_reward(inside(answer), PLACES, TAGS) == 0


@pytest.mark.parametrize(
    ("answer", "earned"),
    [
        ("[]", 1), ("```json\n[]\n```", 1), ("No defect", 1), ("No defect.", 1),
        ("", 0), ("[", 0), ("none", 0), ("B", 0), ("[1]", 0),
        (f"[{box(1, 1, 9, 9)}]", 0), (f"[] but [{box(1, 1, 9, 9)}]", 0),
        # A box that can't be used is a box all the same.
        (f"[{box(5, 5, 5, 5)}]", 0), (f"[{box(-9, -9, -1, -1)}]", 0), ('[{"bbox_2d": []}]', 0),
    ],
)  # fmt: skip
def test_a_normal_part(answer: str, earned: float) -> None:
    assert task_reward(inside(answer), NORMAL, TAGS) == earned


def test_a_mask_is_taken_instead_of_the_boxes() -> None:
    mask = np.zeros((56, 84), dtype=np.bool_)
    mask[10:20, 10:30] = True
    truth = Truth(kind="boxes", height=56, width=84, boxes=BOXES, mask=mask)
    assert task_reward(inside(f"[{box(10, 10, 30, 30)}]"), truth, TAGS) == 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "choice"},
        {"kind": "choice", "choice": "F"},
        {"kind": "choice", "choice": ""},
        {"kind": "boxes"},
        {"kind": "boxes", "mask": np.ones((4, 4), dtype=np.bool_)},
    ],
)
def test_a_truth_that_nothing_can_be_held_against(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Truth(height=56, width=84, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("tags", [TAGS, None])
def test_any_text_earns_between_nothing_and_one(tags: ThinkingTags | None) -> None:
    rng = random.Random(0)
    parts = [
        *TAGS.all, "A", "B", " ", "[", "]", "{", "}", '"bbox_2d"', ":", ",", "1e999", "NaN", "-7",
        "9" * 400, "'", "\\", "\x00", "\ud800", "é", "No defect", "null", '"label"', "```", "()",
        box(10, 10, 30, 30), "<|im_end|>", "[" * 50,
    ]  # fmt: skip
    for _ in range(2000):
        text = "".join(rng.choices(parts, k=rng.randrange(14)))
        assert format_reward(text, tags) in (0, 1)
        assert all(0 <= task_reward(text, truth, tags) <= 1 for truth in (CHOICE, PLACES, NORMAL))


def test_chosen_option() -> None:
    assert chosen_option("A scratch, so C.") == "C"
    assert chosen_option("A scratch") == "A"  # as MMAD reads it, an article too
    assert chosen_option("nothing") is None
