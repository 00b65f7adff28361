"""Numbers in a sentence: what they count, and whether that many are there. Knows no places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adcopilot_edge.training.chat_ad.teacher.binding import NOUNS
from adcopilot_edge.training.chat_ad.teacher.lexicon import NUMBERS, SEVERAL, SINGLE, stem, word_set
from adcopilot_edge.training.chat_ad.teacher.mentions import Mention
from adcopilot_edge.training.chat_ad.teacher.polarity import Polarity
from adcopilot_edge.training.chat_ad.teacher.truth import Truth

_REACH = 4  # words from a number to its noun
_PICTURES = word_set("image images picture pictures sample samples view views")
_OF_PICTURES = word_set("both two second one single")
_FIRST = (["image"], ["picture"])
_ALONE = word_set("only sole lone solitary")
_KINDS = word_set("kind kinds type types")

Finding = tuple[str, int, int]
"""Code, and the words by the indices of their start and end."""


def check_numbers(
    words: Sequence[str],
    mentions: Sequence[Mention],
    polarity: Polarity,
    truth: Truth,
    asked_count: bool,
    label: str | None,
) -> Iterator[Finding]:
    """What is wrong with the numbers of a sentence, and with plurals of what is there once.

    asked_count: the question was how many, so that a bare number counts ``label``, or all.
    """
    inside = {i for one in mentions for i in range(one.start, one.end)}
    for index, word in enumerate(words):
        if index in inside or (word in ("zero", "0") and _is_denial(index, mentions, polarity)):
            continue
        if word == "first" and words[index + 1 : index + 2] not in _FIRST:
            yield "number", index, index + 1
        noun = _noun(index, mentions, words)
        if noun is not None:
            if not polarity.is_denied(noun) and _is_wrong(
                word, words[index : noun.start], noun, truth
            ):
                yield "count", index, noun.end
        elif _is_number(word):
            ahead = words[index + 1] if index + 1 < len(words) else ""
            if ahead in _PICTURES and word in _OF_PICTURES:
                continue
            if asked_count:
                if _value(word) != truth.count_of(label if label in truth.labels else None):
                    yield "count", index, index + 1
            elif word != "one" or (index and words[index - 1] in ("only", "just", "exactly")):
                yield "number", index, min(index + 2, len(words))
    yield from _plurals(words, mentions, polarity, truth)


def _noun(index: int, mentions: Sequence[Mention], words: Sequence[str]) -> Mention | None:
    """What the word at ``index`` may count."""
    for one in mentions:
        between = words[index + 1 : one.start]
        if one.kind in NOUNS and one.start > index and len(between) < _REACH:
            is_cut = {",", ";", "is", "are", "and", "image", "sample", "in", "at"} & {*between}
            return None if is_cut else one
    return None


def _is_number(word: str) -> bool:
    return word in NUMBERS or word in SEVERAL or word[0].isdigit()


def _value(word: str) -> int | None:
    return NUMBERS.get(word, int(word) if word.isdecimal() else None)


def _is_wrong(word: str, before_noun: Sequence[str], noun: Mention, truth: Truth) -> bool:
    label = noun.value if noun.kind == "label" else None
    count = truth.count_of(label) if truth.labels else 0
    if word in _ALONE:
        is_alone = label is None or len(truth.labels) == 1
        return count != 1 or not is_alone
    if word in SINGLE:
        return count != 1
    if word in SEVERAL:
        return count is None or count < 2
    if not _is_number(word):
        return False
    if word == "one" and "of" in before_noun:
        return count is None or count < 2
    if _KINDS & {*before_noun}:
        return _value(word) != len(truth.labels)
    return _value(word) != count


def _is_denial(index: int, mentions: Sequence[Mention], polarity: Polarity) -> bool:
    return any(one.start > index and polarity.is_denied(one) for one in mentions)


def _plurals(
    words: Sequence[str], mentions: Sequence[Mention], polarity: Polarity, truth: Truth
) -> Iterator[Finding]:
    for one in mentions:
        if one.kind not in ("label", "generic") or not polarity.is_affirmed(one):
            continue
        word = words[one.end - 1]
        own = one.value.lower().split()[-1:] if one.kind == "label" else []
        is_plural = word.endswith("s") and stem(word) != word and word not in own
        label = one.value if one.kind == "label" else None
        if is_plural and word not in _VERBS and truth.labels and truth.count_of(label) == 1:
            yield "count", one.start, one.end


_VERBS = word_set("differs deviates fails rejects changes alters")
