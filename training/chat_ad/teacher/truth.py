"""What is true of a pair, in the form in which claims are held against it. Reads no text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from adcopilot_edge.training.chat_ad.mined import MinedDefect, MinedPair
from adcopilot_edge.training.chat_ad.teacher.lexicon import stem
from adcopilot_edge.training.places import place_word
from adcopilot_edge.types import BBox

Facet = Literal["place", "size", "contrast", "shape"]
_ROWS = ("upper", "middle", "lower")
_COLUMNS = ("left", "centre", "right")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spot:
    """One box of a defect, or a defect without any, whose box is None.

    facets: what is known of it, its place on the 3x3 grid. is_alone: it is all of its defect;
    otherwise its facets but the place are those of all boxes of the defect together.
    """

    label: str
    box: BBox | None
    facets: dict[Facet, str]
    is_alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTruth:
    """What is true of all defects of one label together.

    facets: what is true of any of them; one that nobody knows is empty, so that nothing may be
    claimed of it. count: boxes; None where one has no place.
    """

    label: str
    boxes: tuple[BBox, ...]
    count: int | None
    facets: dict[Facet, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A pair as claims see it.

    spots: all that is wrong. labels: by label. others: labels that the category has elsewhere.
    words: stems of the pair's own labels and descriptions, and of the category, which no list of
    defects may forbid.
    """

    is_anomaly: bool
    size: tuple[int, int]
    spots: tuple[Spot, ...]
    labels: dict[str, LabelTruth]
    others: tuple[str, ...]
    words: frozenset[str]

    @classmethod
    def of(cls, pair: MinedPair, known_words: Iterable[str] = ()) -> Truth:
        """The truth of ``pair``; known_words: more words that may be used and claim nothing."""
        texts = [*pair.labels, *(one.description for one in pair.defects), pair.category]
        texts += known_words
        spots = tuple(spot for defect in pair.defects for spot in _spots(defect, pair.query_size))
        return cls(
            is_anomaly=not pair.is_normal,
            size=pair.query_size,
            spots=spots,
            labels=_by_label(spots),
            others=tuple(label for label in pair.other_labels if label not in pair.labels),
            words=frozenset(stem(word) for text in texts for word in label_words(text)),
        )

    def only(self, spots: Sequence[Spot]) -> Truth:
        """The truth as if the pair had no defects but ``spots``.

        What is known only of all boxes of a defect is known of none where one is missing.
        """
        missing = [one for one in self.spots if one not in spots]
        kept = tuple(
            one
            if one.is_alone or all(other.label != one.label for other in missing)
            else replace(one, facets={"place": one.facets["place"]}, is_alone=True)
            for one in spots
        )
        labels = _by_label(kept)
        others = {one.label for one in missing} - labels.keys()
        return replace(self, spots=kept, labels=labels, others=(*self.others, *sorted(others)))

    def spots_of(self, label: str | None) -> list[Spot]:
        """The spots of a label, or all for None."""
        return [one for one in self.spots if label in (None, one.label)]

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


def is_at(place: str, row_and_column: str) -> bool:
    """Whether a place of the grid is in ``row|column``, of which either may be empty."""
    row, column = row_and_column.split("|")
    at = grid_cell(place)
    return row in ("", at[0]) and column in ("", at[1])


def _spots(defect: MinedDefect, size: tuple[int, int]) -> Iterator[Spot]:
    facts = defect.facts
    known: dict[Facet, str | None] = {}
    if facts is not None:
        known = {"size": facts.size, "contrast": facts.contrast, "shape": facts.shape}
    facets: dict[Facet, str] = {key: value for key, value in known.items() if value is not None}
    is_alone = len(defect.boxes) < 2
    width, height = size
    for box in defect.boxes or (None,):
        place: dict[Facet, str] = (
            {"place": place_word(box, height=height, width=width)} if box else {}
        )
        yield Spot(label=defect.label, box=box, facets=place | facets, is_alone=is_alone)


def _by_label(spots: Sequence[Spot]) -> dict[str, LabelTruth]:
    """What is true of each label, sorted."""
    labels = sorted({one.label for one in spots})
    return {label: _label_truth(label, [x for x in spots if x.label == label]) for label in labels}


def _label_truth(label: str, spots: Sequence[Spot]) -> LabelTruth:
    boxes = tuple(one.box for one in spots if one.box is not None)
    facets: tuple[Facet, ...] = ("place", "size", "contrast", "shape")
    return LabelTruth(
        label=label,
        boxes=boxes,
        count=len(boxes) if len(boxes) == len(spots) else None,
        facets={
            facet: frozenset(one.facets[facet] for one in spots if facet in one.facets)
            for facet in facets
        },
    )


def _agrees(facet: Facet, value: str, true: frozenset[str]) -> bool:
    return any(is_at(place, value) for place in true) if facet == "place" else value in true
