"""Two answers in words: when they are the same."""

from __future__ import annotations

import pytest

from adcopilot_edge.calibration.agreement import BoxAnswer, is_same_answer, read_answer
from adcopilot_edge.runtime.answer import LabelledBox
from adcopilot_edge.types import BBox

BOX: BBox = (0.0, 0.0, 10.0, 10.0)
RIGHT: BBox = (11.0, 0.0, 15.0, 4.0)
NEAR: BBox = (0.5, 1.0, 10.0, 9.0)


def answer(*boxes: tuple[BBox, str], text: str = "") -> BoxAnswer:
    return BoxAnswer(text, tuple(LabelledBox(box, label) for box, label in boxes))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        pytest.param(answer(), answer(text="No defect"), True, id="no box in both"),
        pytest.param(answer((BOX, "Open")), answer((NEAR, "open")), True, id="within a pixel"),
        pytest.param(answer((BOX, "a")), answer(((0, 0, 11.5, 10), "a")), False, id="beyond it"),
        pytest.param(answer((BOX, "open")), answer((BOX, "short")), False, id="other label"),
        pytest.param(answer((BOX, "a")), answer(), False, id="one lacks"),
        pytest.param(answer(), answer((BOX, "a")), False, id="one more"),
        pytest.param(
            answer((BOX, "a"), (RIGHT, "b")), answer((RIGHT, "b"), (NEAR, "a")), True, id="order"
        ),
        pytest.param(answer((BOX, "a"), (BOX, "a")), answer((BOX, "a"), (RIGHT, "a")), False),
        pytest.param(BoxAnswer("what?", None), BoxAnswer(" what? ", None), True, id="words"),
        pytest.param(BoxAnswer("what?", None), BoxAnswer("who?", None), False, id="other words"),
        pytest.param(BoxAnswer("what?", None), answer(), False, id="one is unreadable"),
    ],
)
def test_when_answers_are_the_same(one: BoxAnswer, other: BoxAnswer, is_same: bool) -> None:
    assert is_same_answer(one, other) == is_same


def test_answers_are_read_as_the_runtime_reads_them() -> None:
    read = read_answer('[{"bbox_2d": [0, 0, 10, 10], "label": "open"}]', height=20, width=20)
    assert is_same_answer(read, answer((BOX, "open")))
    assert read_answer("something is off", height=20, width=20).boxes is None
