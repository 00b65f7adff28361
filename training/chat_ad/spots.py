"""What may be said of the defects of a pair: kind by kind, and only what mask and boxes bear out.

Draws no words. Boxes of one label belong together, and a fact of the pixels counts for a kind only
where mining found it for all of its boxes at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from adcopilot_edge.training.chat_ad.mined import (
    ContrastWord,
    MinedDefect,
    MinedPair,
    ShapeWord,
    SizeWord,
)
from adcopilot_edge.training.chat_ad.nouns import Noun, noun_of, says_size
from adcopilot_edge.training.places import place_word
from adcopilot_edge.training.tasks import reading_order
from adcopilot_edge.types import BBox

_Word = TypeVar("_Word")

# Of a box that is longer than this share of the image its centre says little about where it is.
_LONGEST_IN_A_CELL = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """All defects of one label.

    boxes: in reading order; empty where the place of any defect of the pair is unknown, and then
    nothing is said of places or numbers. places: where the boxes are on a 3x3 grid, each word
    once; empty where that can't be told. extent: instead of a place, ``across most of the image``.
    size, shape, contrast: of its area as a whole, or with ``is_each`` of each of several defects,
    which all have that word; None where that isn't known, and for a size where the label speaks of
    it itself.
    """

    label: str
    noun: Noun
    boxes: tuple[BBox, ...]
    places: tuple[str, ...]
    extent: str
    size: SizeWord | None
    shape: ShapeWord | None
    contrast: ContrastWord | None
    is_each: bool
    description: str

    @property
    def count(self) -> int:
        """How many boxes it has; 1 where they are unknown."""
        return max(1, len(self.boxes))

    @property
    def is_one(self) -> bool:
        """Whether it is spoken of in the singular."""
        return self.noun.kind == "mass" or (self.count == 1 and self.noun.is_singular)


def spots_of(pair: MinedPair) -> tuple[Spot, ...]:
    """The kinds of defect of ``pair``, in the order of their first boxes, else of their labels."""
    found = [_spot(pair, label) for label in pair.labels]
    return tuple(sorted(found, key=lambda spot: [reading_order(box) for box in spot.boxes[:1]]))


def boxes_of(pair: MinedPair) -> list[tuple[BBox, str]]:
    """All boxes with their labels in reading order; none where a defect has no place."""
    if not pair.is_placed:
        return []
    found = [(box, defect.label) for defect in pair.defects for box in defect.boxes]
    return sorted(found, key=lambda item: reading_order(item[0]))


def _spot(pair: MinedPair, label: str) -> Spot:
    defects = [defect for defect in pair.defects if defect.label == label]
    boxes: tuple[BBox, ...] = ()
    if pair.is_placed:
        found = [box for defect in defects for box in defect.boxes]
        boxes = tuple(sorted(found, key=reading_order))
    facts = [defect.facts for defect in defects if defect.facts is not None] if boxes else []
    is_each = len(defects) == len(boxes) > 1
    is_told = len(facts) == len(defects) and (is_each or len(facts) == 1)
    size: SizeWord | None = None
    if is_told and not says_size(label):
        size = _shared(one.size for one in facts)
    shape: ShapeWord | None = _shared(one.shape for one in facts) if is_told else None
    places = _places(boxes, defects, pair.query_size)
    return Spot(
        label=label,
        noun=noun_of(label),
        boxes=boxes,
        places=places,
        extent="" if places else _extent(boxes, pair.query_size),
        size=size,
        # Of several boxes with one fact it is the shape of the largest.
        shape=shape if is_each or len(boxes) == 1 or shape == "scattered" else None,
        contrast=_shared(one.contrast for one in facts) if is_told else None,
        is_each=is_each,
        description=next((one.description for one in defects if one.description), ""),
    )


def _shared(words: Iterable[_Word | None]) -> _Word | None:
    found = set(words)
    return found.pop() if len(found) == 1 else None


def _places(
    boxes: tuple[BBox, ...], defects: list[MinedDefect], size: tuple[int, int]
) -> tuple[str, ...]:
    """The cells of the boxes; none if one is too long for a cell, or mining says otherwise."""
    width, height = size
    if not boxes or any(_spans(box, size) != (False, False) for box in boxes):
        return ()
    for defect in defects:
        if len(defect.boxes) != 1 or defect.facts is None:
            continue
        if place_word(defect.boxes[0], height=height, width=width) != defect.facts.place:
            return ()
    return tuple(dict.fromkeys(place_word(box, height=height, width=width) for box in boxes))


def _extent(boxes: tuple[BBox, ...], size: tuple[int, int]) -> str:
    if len(boxes) != 1:
        return ""
    is_wide, is_high = _spans(boxes[0], size)
    if is_wide and is_high:
        return "across most of the image"
    if is_wide:
        return "across most of the width of the image"
    return "over most of the height of the image" if is_high else ""


def _spans(box: BBox, size: tuple[int, int]) -> tuple[bool, bool]:
    """Whether a box goes over most of the width, and of the height."""
    x1, y1, x2, y2 = box
    width, height = size
    return (x2 - x1) / width > _LONGEST_IN_A_CELL, (y2 - y1) / height > _LONGEST_IN_A_CELL
