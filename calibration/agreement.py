"""Whether two bundles answer in words where the defects are, and give the same answer.

Knows nothing of the truth: two wrong answers may agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from adcopilot_edge.errors import AnswerError
from adcopilot_edge.runtime.answer import LabelledBox, parse_boxes

TOLERANCE = 1.0
"""By how many pixels of the model's input a corner may differ, in x and in y."""


@dataclass(frozen=True, slots=True)
class BoxAnswer:
    """The model's words, and the boxes in them in pixels of its input; None if unreadable."""

    text: str
    boxes: tuple[LabelledBox, ...] | None


def read_answer(text: str, *, height: int, width: int) -> BoxAnswer:
    """Read an answer to the question where the defects are, of an input of this size in pixels."""
    try:
        return BoxAnswer(text, parse_boxes(text, height=height, width=width).boxes)
    except AnswerError:
        return BoxAnswer(text, None)


def is_same_answer(one: BoxAnswer, other: BoxAnswer) -> bool:
    """Whether two answers say the same.

    They do if both hold equally many boxes, and each box of the one, in its order, finds a box of
    the other that is not taken, has the same label in any case, and all four corners within
    ``TOLERANCE``. So no box in both is the same answer, whatever the words. If only one can be
    read they differ; if none can, the words must be equal but for spaces at the ends.
    """
    if one.boxes is None or other.boxes is None:
        return one.boxes is other.boxes and one.text.strip() == other.text.strip()
    free = list(other.boxes)
    for box in one.boxes:
        match = next((place for place, rival in enumerate(free) if _is_near(box, rival)), None)
        if match is None:
            return False
        del free[match]
    return not free


def _is_near(one: LabelledBox, other: LabelledBox) -> bool:
    corners = zip(one.bbox_2d, other.bbox_2d, strict=True)
    is_same_label = one.label.casefold() == other.label.casefold()
    return is_same_label and all(abs(a - b) <= TOLERANCE for a, b in corners)
