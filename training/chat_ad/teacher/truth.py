"""What is true of a pair, in the form in which claims are held against it. Reads no text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from adcopilot_edge.training.chat_ad.mined import MinedDefect, MinedPair
from adcopilot_edge.training.chat_ad.teacher.lexicon import stem
from adcopilot_edge.training.places import place_word
from adcopilot_edge.types import BBox

Facet = Literal["place", "size", "contrast", "shape"]
_ROWS = ("upper", "middle", "lower")
_COLUMNS = ("left", "centre", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTruth:
    """What is true of all defects of one label together.

    places: on the 3x3 grid, of the defects and of each of their boxes; a facet whose facts nobody
    knows is empty, so that nothing may be claimed of it. count: boxes; None where one has no place.
    """

    label: str
    boxes: tuple[BBox, ...]
    count: int | None
    facets: dict[Facet, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A pair as claims see it.

    labels: by label. others: labels that the category has elsewhere. words: stems of the pair's own
    labels and descriptions, and of the category, which no list of defects may forbid.
    """

    is_anomaly: bool
    size: tuple[int, int]
    labels: dict[str, LabelTruth]
    others: tuple[str, ...]
    words: frozenset[str]

    @classmethod
    def of(cls, pair: MinedPair, known_words: Iterable[str] = ()) -> Truth:
        """The truth of ``pair``; known_words: more words that may be used and claim nothing."""
        texts = [*pair.labels, *(one.description for one in pair.defects), pair.category]
        texts += known_words
        return cls(
            is_anomaly=not pair.is_normal,
            size=pair.query_size,
            labels={label: _label_truth(label, pair) for label in pair.labels},
            others=tuple(label for label in pair.other_labels if label not in pair.labels),
            words=frozenset(stem(word) for text in texts for word in label_words(text)),
        )

    @property
    def count(self) -> int | None:
        """The number of boxes; None where a defect has no place."""
        counts = [one.count for one in self.labels.values()]
        return None if None in counts else sum(count for count in counts if count is not None)

    def chosen(self, label: str | None) -> Iterable[LabelTruth]:
        """The truth of a label, or of all for None."""
        return self.labels.values() if label is None else (self.labels[label],)

    def holds(self, facet: Facet, value: str, label: str | None) -> bool:
        """Whether ``value`` is true of a defect of the label, or of any defect for None."""
        return any(_agrees(facet, value, one.facets[facet]) for one in self.chosen(label))

    def count_of(self, label: str | None) -> int | None:
        """How many defects a label has, or all for None; None where nobody knows."""
        return self.count if label is None else self.labels[label].count


@lru_cache(maxsize=1 << 12)
def label_words(text: str) -> tuple[str, ...]:
    """The words of a label, as a text would have them."""
    return tuple("".join(sign if sign.isalnum() else " " for sign in text.lower()).split())


def grid_cell(place: str) -> tuple[str, str]:
    """Row and column of a place of the grid."""
    if place in ("centre", "middle", "middle centre"):
        return "middle", "centre"
    row, _, column = place.partition(" ")
    if column:
        return row, column
    return (row, "centre") if row in _ROWS else ("middle", row)


def _label_truth(label: str, pair: MinedPair) -> LabelTruth:
    defects = [one for one in pair.defects if one.label == label]
    boxes = tuple(box for one in defects for box in one.boxes)
    is_placed = all(one.boxes for one in defects)
    width, height = pair.query_size
    return LabelTruth(
        label=label,
        boxes=boxes,
        count=len(boxes) if is_placed else None,
        facets={
            "place": _known(one.facts.place for one in defects if one.facts)
            | {place_word(box, height=height, width=width) for box in boxes},
            "size": _known(one.facts.size for one in defects if one.facts),
            "contrast": _known(_contrast(one) for one in defects),
            "shape": _known(one.facts.shape for one in defects if one.facts),
        },
    )


def _known(values: Iterable[str | None]) -> frozenset[str]:
    return frozenset(value for value in values if value is not None)


def _contrast(defect: MinedDefect) -> str | None:
    return defect.facts.contrast if defect.facts else None


def _agrees(facet: Facet, value: str, true: frozenset[str]) -> bool:
    if facet != "place":
        return value in true
    row, column = value.split("|")
    cells = [grid_cell(place) for place in true]
    return any(row in ("", r) and column in ("", c) for r, c in cells)
