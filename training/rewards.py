"""What an answer earns: pure functions of a completion and the truth. They never raise.

The reward of AD-Copilot's stage 3 (its spec, section 8): a weight times the format, plus the task's
term. choice: 1 if the chosen option is the key. boxes: the BBox-Mask IoU with the true places; on a
normal image 1 for an empty list and 0 for anything else. What can't be read earns 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from adcopilot_edge.errors import AnswerError, ConfigError
from adcopilot_edge.metrics import draw_boxes, mask_iou
from adcopilot_edge.runtime.answer import parse_boxes
from adcopilot_edge.training.thinking import ThinkingTags, split_completion
from adcopilot_edge.types import BBox, MaskArray

LETTERS = "ABCDE"
_ALONE = re.compile(rf"\b([{LETTERS}])\b")

TruthKind = Literal["choice", "boxes", "normal"]
TRUTH_KINDS: tuple[TruthKind, ...] = ("choice", "boxes", "normal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What an answer is held against.

    kind: ``choice`` between options, ``boxes`` around defects, or none around a ``normal`` part.
    choice: the key, of A to E. height, width: of the query as the model sees it, in pixels. boxes:
    in those pixels. mask: (height, width) bool, taken instead of the boxes where there is one.
    """

    kind: TruthKind
    height: int
    width: int
    choice: str | None = None
    boxes: tuple[BBox, ...] = ()
    mask: MaskArray | None = None

    def __post_init__(self) -> None:
        if self.kind == "choice" and (self.choice is None or self.choice not in set(LETTERS)):
            raise ConfigError(f"the key of a choice must be one of {LETTERS}, got {self.choice!r}")
        if self.kind == "boxes" and not self.boxes and self.mask is None:
            raise ConfigError("a truth of the kind boxes needs boxes or a mask")
        if self.mask is not None and self.mask.shape != (self.height, self.width):
            raise ConfigError(
                f"the mask must have the size of the query, {(self.height, self.width)}, "
                f"got {self.mask.shape}"
            )

    @property
    def places(self) -> MaskArray:
        """(height, width) bool, true where a defect is."""
        if self.mask is not None:
            return self.mask
        return draw_boxes(self.boxes, self.height, self.width)


def format_reward(completion: str, tags: ThinkingTags | None) -> float:
    """1 if the layout is kept to the letter (see ``split_completion``), else 0."""
    return float(split_completion(completion, tags).is_well_formed)


def task_reward(completion: str, truth: Truth, tags: ThinkingTags | None) -> float:
    """The task's term, 0..1; 0 where the completion has no answer that can be read."""
    answer = split_completion(completion, tags).answer
    if answer is None:
        return 0.0
    if truth.kind == "choice":
        return float(chosen_option(answer) == truth.choice)
    return place_reward(answer, truth)


def chosen_option(answer: str) -> str | None:
    """The last of A to E that stands alone in the answer, as MMAD reads it, or None.

    So a list of all options counts as its last one, which is no better than to guess.
    """
    found = _ALONE.findall(answer)
    return found[-1] if found else None


def place_reward(answer: str, truth: Truth) -> float:
    """The IoU of all boxes of the answer, drawn into one mask, with the true places.

    A normal part: 1 for an empty list or the words "No defect". A box that can't be used, as one
    without area, is a box all the same and earns 0 there.
    """
    try:
        parsed = parse_boxes(answer, height=truth.height, width=truth.width)
    except AnswerError:
        return 0.0
    if truth.kind == "normal":
        return float(not parsed.boxes and not parsed.num_dropped)
    boxes = [item.bbox_2d for item in parsed.boxes]
    if not boxes:
        return 0.0
    return mask_iou(draw_boxes(boxes, truth.height, truth.width), truth.places)
