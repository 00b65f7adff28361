"""What a sentence mentions of a pair's truth: labels, other defects, places, sizes, contrast.

Knows neither whether a mention is denied nor whether it is true.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from adcopilot_edge.training.chat_ad.teacher import lexicon
from adcopilot_edge.training.chat_ad.teacher.lexicon import stem
from adcopilot_edge.training.chat_ad.teacher.truth import Truth, label_words

Kind = Literal[
    "label", "other", "thing", "generic", "vague", "normal", "place", "odd place", "corner",
    "edge", "size", "contrast", "shape", "direction", "colour", "unchecked",
]  # fmt: skip
DEFECT_KINDS: frozenset[Kind] = frozenset(("label", "other", "thing", "generic"))

_LONGEST_GAP = 5  # words between those of one label, as in "the wire on its left is bent"
_MOST_GAP_WORDS = 4  # between two words of one place


@dataclass(frozen=True, slots=True)
class Mention:
    """Words of a sentence that speak of something; ``end`` is exclusive.

    value: the label for ``label`` and ``other``; ``row|column`` for a place, either may be empty,
    and empty altogether where the words contradict each other; a word of the facts for a facet.
    """

    kind: Kind
    value: str
    start: int
    end: int


def find_mentions(words: Sequence[str], truth: Truth) -> list[Mention]:
    """All mentions of a sentence in its order; no word belongs to two."""
    stems = [stem(word) for word in words]
    taken: set[int] = set()
    found: list[Mention] = []

    def take(kind: Kind, value: str, start: int, end: int) -> None:
        found.append(Mention(kind, value, start, end))
        taken.update(range(start, end))

    for label in sorted(truth.labels, key=lambda one: -len(label_words(one))):
        for start, end, spread in _label_spans(label, words, stems):
            if not taken & {*range(start, end), *spread}:
                take("label", label, start, end)
                taken.update(spread)
    for label in truth.others:
        for start, end, spread in _label_spans(label, words, stems):
            if not {*range(start, end), *spread} <= taken and not _is_part(label, truth):
                take("other", label, start, end)
                taken.update(spread)
    cores = {core: label for label in truth.labels for core in _cores(label)}
    for index, core in enumerate(stems):
        if index not in taken and core in cores:
            take("label", cores[core], index, index + 1)
    _take_phrases(words, taken, take)
    for start, end, value in _places(words, taken):
        take("place", value, start, end)
    for index, word in enumerate(words):
        if index not in taken and (kind := _kind(word, stems[index], truth)):
            take(kind, _value(kind, word), index, index + 1)
    return sorted(found, key=lambda one: one.start)


def _label_spans(
    label: str, words: Sequence[str], stems: Sequence[str]
) -> list[tuple[int, int, frozenset[int]]]:
    """Where all words of a label stand: in a row, as one word, or near each other in any order.

    Each as start and end; of words that are spread, the first, and the indices of all.
    """
    parts = [stem(word) for word in label_words(label)]
    joined = stem("".join(label_words(label)))
    size, spans = len(parts), list[tuple[int, int, frozenset[int]]]()
    for start in range(len(stems)):
        if stems[start] == joined:
            spans.append((start, start + 1, frozenset()))
        elif start + 1 < len(words) and stem(words[start] + words[start + 1]) == joined:
            spans.append((start, start + 2, frozenset()))
        elif list(stems[start : start + size]) == parts:
            spans.append((start, start + size, frozenset()))
        elif size > 1 and stems[start] in parts:
            window = stems[start : start + size + _LONGEST_GAP]
            stop = next((i for i, one in enumerate(window) if one in (",", ";", ":")), len(window))
            if set(parts) <= set(window[:stop]):
                spread = frozenset(start + window[:stop].index(part) for part in parts)
                spans.append((start, start + 1, spread))
    return spans


def _is_part(label: str, truth: Truth) -> bool:
    """Whether a true label says all that ``label`` does, as ``hairline crack`` of ``crack``."""
    parts = {stem(word) for word in label_words(label)}
    return any(parts <= {stem(word) for word in label_words(true)} for true in truth.labels)


def _cores(label: str) -> list[str]:
    """The stems that alone stand for a label of several words."""
    stems = [stem(word) for word in label_words(label)]
    return [one for one in stems if one in lexicon.THINGS or one in lexicon.GENERIC]


def _take_phrases(
    words: Sequence[str], taken: set[int], take: Callable[[Kind, str, int, int], None]
) -> None:
    """Contrast that takes two words: ``differently coloured``, ``similar in tone``."""
    for index, word in enumerate(words):
        ahead = [one for one in words[index + 1 : index + 4] if one not in ("in", "on", "the")]
        if word in ("like", "as") and ahead and ahead[0] in ("template", "reference", "golden"):
            take("normal", "like the template", index, index + 1)
    tones = {"tone", "colour", "brightness", "shade", "colours", "tones"}
    for index, word in enumerate(words):
        if index in taken or index + 1 in taken:
            continue
        rest = [one for one in words[index + 1 : index + 4] if one not in ("in", "a", "the")]
        if (
            word in ("differently", "different", "another")
            and rest
            and rest[0]
            in {
                *tones,
                "coloured",
            }
        ):
            take("contrast", "differently coloured", index, words.index(rest[0], index) + 1)
        elif word in ("similar", "same", "equal") and rest and rest[0] in tones:
            take("contrast", "similar in tone", index, words.index(rest[0], index) + 1)


def _places(words: Sequence[str], taken: set[int]) -> list[tuple[int, int, str]]:
    """Places of the grid as start, end and ``row|column``."""
    places, index = [], 0
    while index < len(words):
        if index in taken or words[index] not in lexicon.PLACES:
            index += 1
            continue
        start, end, parts = index, index + 1, lexicon.PLACES[words[index]].split()
        ahead = end
        while ahead < len(words) and ahead not in taken and ahead - end <= _MOST_GAP_WORDS:
            if words[ahead] in lexicon.PLACES:
                parts += lexicon.PLACES[words[ahead]].split()
                end = ahead + 1
            elif words[ahead] not in lexicon.PLACE_GAPS:
                break
            ahead += 1
        places.append((start, end, _cell(parts)))
        index = end
    return places


def _cell(parts: Sequence[str]) -> str:
    rows = {one for one in parts if one in ("upper", "lower")}
    columns = {one for one in parts if one in ("left", "right")}
    is_centre = "centre" in parts
    if len(rows) > 1 or len(columns) > 1 or (is_centre and rows and columns):
        return ""
    row = "".join(rows) or ("middle" if is_centre else "")
    column = "".join(columns) or ("centre" if is_centre else "")
    return f"{row}|{column}"


def _kind(word: str, root: str, truth: Truth) -> Kind | None:
    """What a single word speaks of."""
    if root in lexicon.THINGS:
        return None if root in truth.words else "thing"
    by_root: tuple[tuple[Kind, frozenset[str]], ...] = (
        ("generic", lexicon.GENERIC),
        ("normal", lexicon.NORMAL),
    )
    by_word: tuple[tuple[Kind, frozenset[str]], ...] = (
        ("odd place", lexicon.UNCHECKED_PLACES),
        ("corner", lexicon.CORNERS),
        ("edge", lexicon.EDGES),
        ("size", frozenset(lexicon.SIZES)),
        ("contrast", frozenset(lexicon.CONTRASTS)),
        ("shape", frozenset(lexicon.SHAPES)),
        ("direction", lexicon.DIRECTIONS),
        ("colour", lexicon.COLOURS),
        ("unchecked", lexicon.UNCHECKED),
    )
    for kind, roots in by_root:
        if root in roots:
            return kind
    for kind, known in by_word:
        if word in known:
            return kind
    return "vague" if root in lexicon.VAGUE else None


def _value(kind: Kind, word: str) -> str:
    facets = {"size": lexicon.SIZES, "contrast": lexicon.CONTRASTS, "shape": lexicon.SHAPES}
    return facets[kind][word] if kind in facets else word
