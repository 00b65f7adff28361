"""Clauses of a sentence, and which noun a place or an adjective belongs to. Knows no truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adcopilot_edge.training.chat_ad.teacher.lexicon import EXCEPTIONS
from adcopilot_edge.training.chat_ad.teacher.mentions import DEFECT_KINDS, Mention
from adcopilot_edge.training.chat_ad.teacher.polarity import BREAKERS

NOUNS = DEFECT_KINDS | {"vague"}
_CLAUSE_ENDS = BREAKERS | {",", "(", ")", '"'}
_TEMPLATE_OPENINGS = ("template", "reference", "golden", "first image", "normal sample", "normal image")
_LEADS = frozenset("the in on while whereas and but where although though of".split())
_JOINTS = frozenset(", and a an the also as well both with".split())
_CUTS = frozenset(", ; : is are was were and that which at in on".split())
_REACH = 4  # from an adjective to its noun


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a sentence by its word indices; ``end`` is exclusive.

    is_template: it speaks of the template and not of the query. has_exception: it, or what it is
    joined to by a comma, says ``otherwise``, ``the rest`` or the like.
    """

    start: int
    end: int
    is_template: bool
    has_exception: bool


def find_clauses(words: Sequence[str]) -> list[Clause]:
    """The clauses of a sentence in their order; together they cover it."""
    cuts = [0]
    for index, word in enumerate(words):
        is_turn = word == "and" and [*words[index + 1 : index + 2]] in (["the"], ["this"], ["it"])
        if (word in _CLAUSE_ENDS or is_turn) and index > cuts[-1]:
            cuts.append(index)
    spans = list(zip(cuts, [*cuts[1:], len(words)], strict=True))
    exceptions = [any(word in EXCEPTIONS for word in words[a:b]) for a, b in _segments(words)]
    ends = [b for _, b in _segments(words)]
    return [
        Clause(a, b, _is_template(words[a:b]), exceptions[_first_above(ends, a)]) for a, b in spans
    ]


def _segments(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    start = 0
    for index, word in enumerate(words):
        if word in BREAKERS:
            yield start, index
            start = index
    yield start, len(words)


def _first_above(ends: Sequence[int], index: int) -> int:
    return next(i for i, end in enumerate(ends) if end > index)


def _is_template(words: Sequence[str]) -> bool:
    rest = list(words)
    while rest and (rest[0] in _LEADS or rest[0] in _CLAUSE_ENDS):
        rest = rest[1:]
    opening = " ".join(rest[:2])
    return any(opening == one or opening.startswith(f"{one} ") for one in _TEMPLATE_OPENINGS)


def place_nouns(place: Mention, mentions: Sequence[Mention], words: Sequence[str]) -> list[Mention]:
    """The nouns that a place belongs to; none where the sentence has none.

    By the order of nouns and places: behind its noun in ``a dent at the left``, before it in ``at
    the left there is a dent``, whichever comes first in the sentence.
    """
    items = [one for one in mentions if one.kind in NOUNS or one.kind == "place"]
    nouns = [one for one in items if one.kind != "place"]
    if place not in items or not nouns:
        return _nearest(place, nouns, words)
    at = items.index(place)
    before = items[at - 1] if at else None
    after = items[at + 1] if at + 1 < len(items) else None
    is_before = before is not None and before.kind != "place"
    is_after = after is not None and after.kind != "place"
    if items[0].kind == "place" and is_after and after is not None:
        return [after]
    if is_before and before is not None:
        return _joined(before, nouns, words)
    if is_after and after is not None:
        return [after]
    return _nearest(place, nouns, words)


def adjective_nouns(
    adjective: Mention, mentions: Sequence[Mention], words: Sequence[str]
) -> list[Mention]:
    """The nouns that a size, a shape or a contrast belongs to; none where there are none."""
    nouns = [one for one in mentions if one.kind in NOUNS]
    for noun in nouns:
        between = words[adjective.end : noun.start]
        if noun.start >= adjective.end and len(between) < _REACH and not _CUTS & {*between}:
            return [noun]
    return _nearest(adjective, nouns, words)


def _nearest(one: Mention, nouns: Sequence[Mention], words: Sequence[str]) -> list[Mention]:
    before = [noun for noun in nouns if noun.start < one.start]
    if before:
        return _joined(before[-1], nouns, words)
    return list(nouns[:1])


def _joined(noun: Mention, nouns: Sequence[Mention], words: Sequence[str]) -> list[Mention]:
    """The noun with those that ``and`` joins to it from before."""
    found = [noun]
    for other in reversed(nouns[: nouns.index(noun)]):
        if not _JOINTS >= {*words[other.end : found[-1].start]}:
            break
        found.append(other)
    return found
