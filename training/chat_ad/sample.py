"""A sample of Chat-AD: two images, a dialogue about them, and the truth that its answers hold to.

Knows neither how it was written nor how it is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.types import BBox

BOX_MARK = "<bbox>"
"""Stands in a turn for the four numbers of a box, ``[x1, y1, x2, y2]`` when filled. What size the
images get is known only where a model is trained, so no number is written before. ms-swift reads
the same mark."""

SampleTask = Literal["caption", "dialogue", "choice", "locate"]
SAMPLE_TASKS: tuple[SampleTask, ...] = ("caption", "dialogue", "choice", "locate")
Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says. The images stand before the first turn, template first."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSample:
    """One dialogue about a pair.

    key: unique in the set, the same in every run: the pair's key, task and number. turns: user and
    assistant by turns, the user first. bboxes: what the marks in the turns stand for, in their
    order, in pixels of the query image. boxes, labels: the truth, one label a box; empty for a
    normal query or one whose defects have no place. choice: the letter of the right option, for the
    task ``choice``. author: ``template`` or the name of the teacher model.
    """

    key: str
    pair: str
    source: str
    category: str
    split: str
    task: SampleTask
    template: Path
    query: Path
    query_size: tuple[int, int]
    turns: tuple[Turn, ...]
    is_anomaly: bool
    bboxes: tuple[BBox, ...] = ()
    boxes: tuple[BBox, ...] = ()
    labels: tuple[str, ...] = ()
    choice: str | None = None
    author: str = "template"

    def __post_init__(self) -> None:
        roles = [turn.role for turn in self.turns]
        if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
            raise DatasetError(f"sample {self.key}: user and assistant must speak by turns")
        marks = sum(turn.text.count(BOX_MARK) for turn in self.turns)
        if marks != len(self.bboxes):
            raise DatasetError(
                f"sample {self.key}: {marks} marks {BOX_MARK} but {len(self.bboxes)} boxes"
            )
        if len(self.boxes) != len(self.labels):
            raise DatasetError(
                f"sample {self.key}: {len(self.boxes)} boxes but {len(self.labels)} labels"
            )


def fill_boxes(
    turns: tuple[Turn, ...], bboxes: tuple[BBox, ...], scale: Callable[[BBox], BBox]
) -> tuple[Turn, ...]:
    """The turns with numbers for their marks.

    scale: from pixels of the query to those that the model sees; numbers are rounded to whole ones.
    """
    rest = iter(bboxes)
    filled = []
    for turn in turns:
        first, *others = turn.text.split(BOX_MARK)
        parts = [first]
        for other in others:
            numbers = ", ".join(str(round(value)) for value in scale(next(rest)))
            parts += [f"[{numbers}]", other]
        filled.append(Turn(turn.role, "".join(parts)))
    return tuple(filled)
