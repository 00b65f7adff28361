"""Clauses of a sentence, and which noun a place or an adjective belongs to. Knows no truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adcopilot_edge.training.chat_ad.teacher.lexicon import EXCEPTIONS, word_set
from adcopilot_edge.training.chat_ad.teacher.mentions import DEFECT_KINDS, Mention
from adcopilot_edge.training.chat_ad.teacher.polarity import BREAKERS, Polarity

NOUNS = DEFECT_KINDS | {"vague"}
_CLAUSE_ENDS = BREAKERS | {",", "(", ")", '"'}
_TEMPLATE_OPENINGS = (
    "template",
    "reference",
    "golden",
    "first",
    "normal sample",
    "normal image",
)
_LEADS = word_set("the in on while whereas and but where although though of")
_JOINTS = word_set(", and a an the also as well both with")
_PLACE_JOINTS = word_set(", and at in on near the also to towards as well")
_CUTS = word_set(", ; : is are was were and that which at in on")
_VERBS = word_set("""
    shows show has have is are was exhibits displays contains reveals bears carries
    """)
_TEMPLATE_NAMES = word_set("template reference golden")
_COMPARING = word_set("to with than from unlike against of as like")
_INSIDE = word_set("in on within inside")
_BOTH = word_set("both each every either two all")
_PICTURES = word_set("image images picture pictures sample samples view views parts")
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
    segments = list(_segments(words))
    exceptions = [any(word in EXCEPTIONS for word in words[a:b]) for a, b in segments]
    ends = [b for _, b in segments]
    clauses = list[Clause]()
    is_template = False
    for a, b in spans:
        opening = _opening(words[a:b])
        if opening[:1] and opening[0] not in _VERBS and opening[0] != "unlike":
            is_template = _is_template(opening) or _has_template_subject(words[a:b])
        clauses.append(Clause(a, b, is_template, exceptions[_first_above(ends, a)]))
    return clauses


def find_template_defects(
    words: Sequence[str], mentions: Sequence[Mention], polarity: Polarity
) -> Iterator[tuple[int, int]]:
    """Where a defect is said to be in the template, or in both pictures, by start and end."""
    affirmed = [m for m in mentions if m.kind in DEFECT_KINDS and polarity.is_affirmed(m)]
    clauses = find_clauses(words)
    for index, word in enumerate(words):
        rest = [one for one in words[index + 1 : index + 4] if one != "the"]
        is_inside = word in _INSIDE and _is_template(rest)
        if is_inside and affirmed and words[index - 1] not in ("than", "unlike"):
            yield index, min(index + 3, len(words))
        is_of_both = word in _BOTH and _PICTURES & {*rest[:2]} and words[index - 1] in _INSIDE
        if is_of_both and index:
            yield index - 1, min(index + 2, len(words))
        clause = next(one for one in clauses if one.start <= index < one.end)
        is_here = any(clause.start <= m.start < clause.end for m in affirmed)
        is_between = "between" in words[max(0, index - 2) : index]
        if word in _BOTH and _PICTURES & {*rest[:2]} and is_here and not is_between:
            yield index, min(index + 2, len(words))
        owner = [m for m in affirmed if m.end == index]
        if word == "of" and owner and _is_template(rest):
            yield owner[0].start, min(index + 3, len(words))


def _segments(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    start = 0
    for index, word in enumerate(words):
        if word in BREAKERS:
            yield start, index
            start = index
    yield start, len(words)


def _first_above(ends: Sequence[int], index: int) -> int:
    return next(i for i, end in enumerate(ends) if end > index)


def _opening(words: Sequence[str]) -> list[str]:
    """A clause from its first word that is neither an article nor a preposition."""
    rest = list(words)
    while rest and (rest[0] in _LEADS or rest[0] in _CLAUSE_ENDS):
        rest = rest[1:]
    return rest


def _has_template_subject(words: Sequence[str]) -> bool:
    """Whether the template does something behind the opening, as in ``here the template has``."""
    for index in range(2, len(words) - 1):
        name = words[index]
        is_subject = words[index - 1] == "the" and words[index + 1] in _VERBS
        if name in _TEMPLATE_NAMES and is_subject and words[index - 2] not in _COMPARING:
            return True
    return False


def _is_template(opening: Sequence[str]) -> bool:
    first = " ".join(opening[:2])
    return any(first == one or first.startswith(f"{one} ") for one in _TEMPLATE_OPENINGS)


def place_nouns(place: Mention, mentions: Sequence[Mention], words: Sequence[str]) -> list[Mention]:
    """The nouns that a place belongs to; none where the sentence has none.

    By the order of nouns and places: behind its noun in ``a dent at the left``, before it in ``at
    the left there is a dent``, whichever comes first in the sentence. The word behind a place, as
    in ``the left region``, is no noun but the place itself.
    """
    ends = {one.end for one in mentions if one.kind == "place"}
    items = [
        one
        for one in mentions
        if one.kind == "place"
        or (one.kind in NOUNS and not (one.kind == "vague" and one.start in ends))
    ]
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
    is_listed = before is not None and {*words[before.end : place.start]} <= _PLACE_JOINTS
    if is_after and after is not None and not is_listed:
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
        if not {*words[other.end : found[-1].start]} <= _JOINTS:
            break
        found.append(other)
    return found
