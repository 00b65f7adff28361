"""The structured claims of a sentence held against the truth, and its boxes made the true ones.

They only help: what a sentence says is judged by its words. Knows no endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adcopilot_edge.metrics import box_mask_iou
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.sample import BOX_MARK
from adcopilot_edge.training.chat_ad.teacher.answer import BOX_SCALE, Claim, Sentence
from adcopilot_edge.training.chat_ad.teacher.lexicon import stem
from adcopilot_edge.training.chat_ad.teacher.mentions import Mention, find_mentions
from adcopilot_edge.training.chat_ad.teacher.sentence import Failure
from adcopilot_edge.training.chat_ad.teacher.truth import (
    Truth,
    grid_cell,
    label_words,
)
from adcopilot_edge.training.chat_ad.teacher.words import BOX, plain, sentences
from adcopilot_edge.training.places import place_word
from adcopilot_edge.types import BBox

TeacherBox = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text with ``BOX_MARK`` where its boxes go, in pixels of the query, and what is wrong."""

    text: str
    boxes: tuple[BBox, ...]
    failures: tuple[Failure, ...]


def teacher_box(box: BBox, size: tuple[int, int]) -> TeacherBox:
    """A box of the query of ``size`` (width, height) as a teacher is told it; never empty."""
    width, height = size
    x1, y1, x2, y2 = box
    left, right = _whole(x1 / width, x2 / width)
    top, bottom = _whole(y1 / height, y2 / height)
    return left, top, right, bottom


def _whole(start: float, end: float) -> tuple[int, int]:
    first = min(BOX_SCALE - 1, max(0, round(start * BOX_SCALE)))
    return first, min(BOX_SCALE, max(first + 1, round(end * BOX_SCALE)))


def mark_boxes(
    parts: Sequence[Sentence], pair: MinedPair, truth: Truth, min_iou: float
) -> MarkedText:
    """The sentences as one text, each box replaced by the true ones that it stands for."""
    texts, boxes, failures = list[str](), list[BBox](), list[Failure]()
    for part in parts:
        failures += claim_failures(part.claims, truth)
        placed = [claim for claim in part.claims if claim.box is not None]
        marks = part.text.count(BOX)
        if plain(part.text).count(BOX) != marks or marks != len(placed) or BOX_MARK in part.text:
            failures.append(Failure("box_count", f"{marks} marks, {len(placed)} boxes"))
            texts.append(part.text)
            continue
        found = [_true_boxes(claim, pair, truth, min_iou) for claim in placed]
        for claim, true in zip(placed, found, strict=True):
            if not true:
                failures.append(Failure("box", f"{claim.label} {claim.box}"))
        failures += _misplaced(part.text, placed, found, truth)
        texts.append(_filled(part.text, [len(true) for true in found]))
        boxes += [box for true in found for box in true]
    return MarkedText(" ".join(text.strip() for text in texts), tuple(boxes), tuple(failures))


def claim_failures(claims: Sequence[Claim], truth: Truth) -> Iterator[Failure]:
    """What is wrong with structured claims, their boxes left out."""
    for claim in claims:
        label = find_label(claim.label, truth)
        if claim.is_anomaly != (label is not None):
            is_known = truth.is_anomaly or not claim.is_anomaly
            yield Failure("claim_label" if is_known else "invented_defect", claim.label)
        if label is None:
            continue
        if claim.count is not None and claim.count != truth.count_of(label):
            yield Failure("claim_count", f"{claim.label}: {claim.count}")
        if claim.place and not _is_place(claim.place, truth, label):
            yield Failure("claim_place", f"{claim.label}: {claim.place}")
        if claim.contrast and not truth.holds("contrast", claim.contrast.lower(), label):
            yield Failure("claim_contrast", f"{claim.label}: {claim.contrast}")


def find_label(name: str, truth: Truth) -> str | None:
    """The label of the pair that is meant by ``name``, however it is written."""
    return next((label for label in truth.labels if is_same_label(name, label)), None)


def is_same_label(name: str, label: str) -> bool:
    """Whether two labels are one but for plural, case, hyphens and the like."""
    words, others = label_words(name), label_words(label)
    is_same = [stem(word) for word in words] == [stem(word) for word in others]
    return is_same or stem("".join(words)) == stem("".join(others))


def _is_place(words: str, truth: Truth, label: str) -> bool:
    found = [
        one
        for part in sentences(words)
        for one in find_mentions(part, truth)
        if one.kind == "place"
    ]
    return bool(found) and all(truth.holds("place", one.value, label) for one in found)


def _true_boxes(claim: Claim, pair: MinedPair, truth: Truth, min_iou: float) -> tuple[BBox, ...]:
    """The true boxes that a claim's box is: one, those of a defect, or all of its label.

    The overlap is taken in the numbers that the teacher was told; none where it is too small.
    """
    wanted = find_label(claim.label, truth)
    assert claim.box is not None
    if wanted is None or not _is_box(claim.box):
        return ()
    defects = [one.boxes for one in pair.defects if one.label == wanted and one.boxes]
    groups: list[tuple[BBox, ...]] = [(box,) for boxes in defects for box in boxes]
    groups += [boxes for boxes in defects if len(boxes) > 1]
    groups += [tuple(box for boxes in defects for box in boxes)] if len(defects) > 1 else []
    x1, y1, x2, y2 = claim.box
    best: tuple[float, tuple[BBox, ...]] = (0.0, ())
    for group in groups:
        told = [teacher_box(box, pair.query_size) for box in group]
        iou = box_mask_iou([(x1, y1, x2, y2)], told, BOX_SCALE, BOX_SCALE)
        best = max(best, (iou, group), key=lambda one: one[0])
    return best[1] if best[0] >= min_iou else ()


def _is_box(box: Sequence[int]) -> bool:
    if len(box) != 4:
        return False
    x1, y1, x2, y2 = box
    return 0 <= x1 < x2 <= BOX_SCALE and 0 <= y1 < y2 <= BOX_SCALE


def _misplaced(
    text: str, placed: Sequence[Claim], found: Sequence[tuple[BBox, ...]], truth: Truth
) -> Iterator[Failure]:
    """Marks whose noun or place in the text is another than that of their box."""
    marks = zip(placed, found, strict=True)
    for words in sentences(text):
        mentions = find_mentions(words, truth)
        for index, word in enumerate(words):
            if word != BOX:
                continue
            claim, true = next(marks)
            labels = [one for one in mentions if one.kind == "label"]
            near = _before(labels, index) or (labels[0] if labels else None)
            if near is not None and near.value != find_label(claim.label, truth):
                yield Failure("box_label", f"{near.value} {claim.box}")
            if near is None or len(true) != 1 or len(truth.labels[near.value].boxes) < 2:
                continue  # its place is that of the label, which the words are held against
            place = _place_of_mark(index, words, mentions)
            width, height = truth.size
            at = place_word(true[0], height=height, width=width)
            if place and not _is_in(place.value, grid_cell(at)):
                yield Failure(
                    "box_place", f"{' '.join(words[place.start : place.end])} {claim.box}"
                )


def _before(mentions: Sequence[Mention], index: int) -> Mention | None:
    return next((one for one in reversed(mentions) if one.start < index), None)


def _place_of_mark(index: int, words: Sequence[str], mentions: Sequence[Mention]) -> Mention | None:
    """The place that a mark belongs to: before or behind it, as the first of the sentence does."""
    places = [one for one in mentions if one.kind == "place"]
    if not places:
        return None
    if places[0].start < list(words).index(BOX):
        return _before(places, index)
    return next((one for one in places if one.start > index), None)


def _is_in(place: str, cell: tuple[str, str]) -> bool:
    row, _, column = place.partition("|")
    return bool(place) and row in ("", cell[0]) and column in ("", cell[1])


def _filled(text: str, counts: Sequence[int]) -> str:
    """The text with as many marks for each of the teacher's as it has true boxes."""
    first, *others = text.split(BOX)
    marks = [", ".join([BOX_MARK] * count) for count in counts]
    return first + "".join(mark + other for mark, other in zip(marks, others, strict=True))
