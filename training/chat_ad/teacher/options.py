"""A teacher's multiple-choice question: every option held against the truth, then laid out.

An option that can't be told to be right or wrong fails the question. Knows no endpoint.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adcopilot_edge.prompt import NO_DEFECT
from adcopilot_edge.training.chat_ad.teacher.answer import Choice
from adcopilot_edge.training.chat_ad.teacher.claims import asked_about, is_true, judge_question
from adcopilot_edge.training.chat_ad.teacher.lexicon import (
    GENERIC,
    NUMBERS,
    PLACE_GAPS,
    stem,
    word_set,
)
from adcopilot_edge.training.chat_ad.teacher.mentions import Kind, find_mentions
from adcopilot_edge.training.chat_ad.teacher.sentence import Failure
from adcopilot_edge.training.chat_ad.teacher.structured import find_label, is_same_label
from adcopilot_edge.training.chat_ad.teacher.truth import Facet, Truth, label_words
from adcopilot_edge.training.chat_ad.teacher.words import sentences, unreadable

LETTERS = "ABCDEF"
_FEWEST, _FEWEST_YES_NO = 3, 2
_LETTER = re.compile(r"^\(?[A-Fa-f][.):]\s+")
_NONE = frozenset(("no defect", "none", "no anomaly", "normal", "no defects", "defect free"))
_FILLERS = PLACE_GAPS | word_set("at in on a an it is near than template .")
_ASKS: dict[str, tuple[frozenset[str], ...]] = {
    "label": (
        word_set("what which"),
        word_set("defect defects anomaly flaw damage fault type kind wrong problem"),
    ),
    "place": (word_set("where location position part region"),),
    "count": (word_set("many number"),),
    "contrast": (
        word_set("how what which"),
        word_set("contrast tone brightness compared compare differ colour look"),
    ),
    "size": (word_set("how what which"), word_set("size large big small")),
}
"""Of each of the sets a question must have a word, so that its options answer what it asks."""
_FACETS: dict[str, Facet] = {"place": "place", "contrast": "contrast", "size": "size"}


@dataclass(frozen=True, slots=True)
class LaidOut:
    """A question with its options in letters, and the letter of the right one."""

    question: str
    letter: str


def choice_failures(choice: Choice, truth: Truth) -> list[Failure]:
    """All that is wrong with a question, its options and the option said to be right."""
    options = [_bare(option) for option in choice.options]
    failures = list(_form_failures(choice, options))
    if failures:
        return failures
    if choice.about == "presence":
        right = is_true(choice.question, truth)
        if right is None:
            return [Failure("unchecked", choice.question)]
        values: list[bool | None] = [
            {"yes": right, "no": not right}.get(option.lower()) for option in options
        ]
    else:
        failures += judge_question(choice.question, truth).failures
        failures += _question_failures(choice)
        about = asked_about(choice.question, truth)
        if about is None:
            return [*failures, Failure("unchecked", choice.question)]
        label = _named(choice.question, about)
        values = [_option(option, choice.about, label, about) for option in options]
        failures += _doubts(choice, options, label, about)
    unknown = [option for option, value in zip(options, values, strict=True) if value is None]
    failures += [Failure("option_unknown", option) for option in unknown]
    true = [option for option, value in zip(options, values, strict=True) if value]
    if not unknown and len(true) != 1:
        failures.append(Failure("options_right", ", ".join(true) or "none"))
    elif not unknown and values[choice.right] is not True:
        failures.append(Failure("wrong_option", options[choice.right]))
    return failures


def lay_out(choice: Choice, key: str) -> LaidOut:
    """The question with its options under letters, in an order that ``key`` alone decides.

    ``No defect`` stays last.
    """
    options = [_bare(option) for option in choice.options]
    right = options[choice.right]
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    random.Random(seed).shuffle(options)
    options.sort(key=lambda option: option.lower() in _NONE)
    options = [NO_DEFECT if option.lower() in _NONE else option for option in options]
    right = NO_DEFECT if right.lower() in _NONE else right
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    question = "\n".join([choice.question.strip(), *lines, "Answer with the letter."])
    return LaidOut(question, LETTERS[options.index(right)])


def _bare(option: str) -> str:
    return _LETTER.sub("", option.strip()).rstrip(". ")


def _form_failures(choice: Choice, options: Sequence[str]) -> Iterator[Failure]:
    fewest = _FEWEST_YES_NO if choice.about == "presence" else _FEWEST
    if not fewest <= len(options) <= len(LETTERS):
        yield Failure("option_count", str(len(options)))
    if not 0 <= choice.right < len(options):
        yield Failure("wrong_option", str(choice.right))
    alike = [" ".join(stem(word) for word in label_words(option)) for option in options]
    if len(set(alike)) < len(alike) or "" in alike:
        yield Failure("options_alike", " / ".join(options))
    for option in options:
        if found := unreadable(option):
            yield Failure(*found)


def _question_failures(choice: Choice) -> Iterator[Failure]:
    words = {word for part in sentences(choice.question) for word in part}
    needed = _ASKS[choice.about]
    is_other = "many" in words and choice.about != "count"
    is_other = is_other or ("where" in words and choice.about != "place")
    if is_other or not all(words & one for one in needed):
        yield Failure("question_about", choice.question)


def _named(question: str, truth: Truth) -> str | None:
    """The label that a question names; None for none, or several."""
    found = {
        one.value
        for part in sentences(question)
        for one in find_mentions(part, truth)
        if one.kind == "label"
    }
    return found.pop() if len(found) == 1 else None


def _option(option: str, about: str, label: str | None, truth: Truth) -> bool | None:
    """Whether an option is right; None where nobody can tell."""
    low = " ".join(label_words(option))
    if low in _NONE:
        return not truth.is_anomaly
    if about == "label":
        bare = low.removeprefix("a ").removeprefix("an ")
        if find_label(bare, truth) is not None:
            return True
        return False if any(is_same_label(bare, one) for one in truth.others) else None
    if about == "count":
        first, *noun = low.split()
        number = NUMBERS.get(first, int(first) if first.isdecimal() else None)
        count = truth.count_of(label) if truth.labels else 0
        is_known = number is not None and count is not None and _is_counted(noun, label, truth)
        return number == count if is_known else None
    return _facet_option(option, _FACETS[about], label, truth)


def _is_counted(noun: Sequence[str], label: str | None, truth: Truth) -> bool:
    """Whether the words behind a number, if any, are a noun of what is counted."""
    if not noun or (len(noun) == 1 and stem(noun[0]) in GENERIC):
        return True
    counted = {label} if label else truth.labels.keys()
    return counted == {find_label(" ".join(noun), truth)}


def _doubts(
    choice: Choice, options: Sequence[str], label: str | None, truth: Truth
) -> Iterator[Failure]:
    """Options that are true of some of the defects that are asked about, and not of the others."""
    if choice.about not in _FACETS:
        return
    for option in options:
        spots = truth.spots_of(label)
        found = {_option(option, choice.about, None, truth.only([one])) for one in spots}
        if len(found) > 1:
            yield Failure("unchecked", option)


def _facet_option(option: str, facet: Facet, label: str | None, truth: Truth) -> bool | None:
    """An option that is a place, a contrast or a size, and nothing else."""
    (words, *more) = sentences(option) or [[]]
    mentions = find_mentions(words, truth)
    kinds: set[Kind] = {one.kind for one in mentions} - {"corner", "edge"}
    inside = {i for one in mentions for i in range(one.start, one.end)}
    rest = {word for index, word in enumerate(words) if index not in inside}
    values = [one.value for one in mentions if one.kind == facet]
    if more or kinds != {facet} or len(values) != 1 or not rest <= _FILLERS:
        return None
    is_whole = facet != "place" or all(values[0].split("|"))
    is_known = any(one.facets[facet] for one in truth.chosen(label)) or not truth.is_anomaly
    if not values[0] or not is_whole or not is_known:
        return None
    return truth.holds(facet, values[0], label)
