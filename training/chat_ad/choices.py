"""Multiple-choice questions about a pair of which exactly one option is right.

Where the truth is not clear-cut there is no question: a place near a border of cells, a number of
boxes that touch, a type beside which any other might be meant too. Knows no captions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from adcopilot_edge.prompt import DEFAULT_PROMPT, NO_DEFECT, SWAPPED_VERDICT
from adcopilot_edge.training.chat_ad.captions import RUNTIME_SHARE
from adcopilot_edge.training.chat_ad.cells import (
    PLACES,
    are_any_close,
    is_clearly_of_its_size,
    is_inside_a_cell,
)
from adcopilot_edge.training.chat_ad.distractors import wrong_types
from adcopilot_edge.training.chat_ad.mined import MinedPair, SizeWord
from adcopilot_edge.training.chat_ad.phrasebook import Voice
from adcopilot_edge.training.chat_ad.spots import Spot, boxes_of, spots_of
from adcopilot_edge.training.tasks import SWAPPED_SHARE
from adcopilot_edge.training.words import numeral

ChoiceKind = Literal["verdict", "type", "location", "size", "number"]
CHOICE_KINDS: tuple[ChoiceKind, ...] = get_args(ChoiceKind)
LETTERS = "ABCDE"
_MOST_COUNTED = 8
_WITH_NO_DEFECT = 0.5
_LETTER_ALONE = 0.6


@dataclass(frozen=True, slots=True)
class Choice:
    """A question with its options, what is answered, and the letter of the right option."""

    kind: ChoiceKind
    question: str
    options: tuple[str, ...]
    answer: str
    letter: str


def choice_kinds(pair: MinedPair) -> list[ChoiceKind]:
    """The kinds of choice that ``pair`` can have."""
    return [kind for kind in CHOICE_KINDS if _offer(pair, kind, random.Random(0)) is not None]


def write_choice(pair: MinedPair, kind: ChoiceKind, voice: Voice) -> Choice:
    """A question of one kind, which must be one of ``choice_kinds``."""
    offered = _offer(pair, kind, voice.rng)
    if offered is None:
        raise ValueError(f"pair {pair.key} has no choice of kind {kind}")
    options = [*offered.shuffled]
    if kind != "verdict":
        voice.rng.shuffle(options)
    options += [offered.last] if offered.last else []
    letter = LETTERS[options.index(offered.right)]
    if kind == "verdict" and voice.likely(RUNTIME_SHARE):
        is_swapped = options[0] == "No"
        question = SWAPPED_VERDICT if is_swapped else DEFAULT_PROMPT.tasks["verdict"]
        return Choice(kind, question, tuple(options), letter, letter)
    question, lines = _lay_out(
        voice.say("choices", offered.table, **offered.values), options, voice
    )
    is_letter = voice.likely(_LETTER_ALONE)
    how = voice.say("choices", "letter" if is_letter else "letter_and_text")
    answer = letter if is_letter else lines[options.index(offered.right)]
    return Choice(kind, f"{question}{how}", tuple(options), answer, letter)


def _lay_out(asked: str, options: Sequence[str], voice: Voice) -> tuple[str, list[str]]:
    """The question with its options, up to where it is said how to answer; and the options."""
    mark = voice.rng.choice((".", ".", ".", ")"))
    lines = [f"{letter}{mark} {words}" for letter, words in zip(LETTERS, options, strict=False)]
    if voice.likely(0.5):
        return "\n".join([asked, *lines, ""]), lines
    return f"{asked} {' '.join(lines)}. ", lines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What may be chosen. shuffled: options in any order; last: one that stays behind them."""

    table: str
    right: str
    shuffled: Sequence[str]
    last: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)


def _offer(pair: MinedPair, kind: ChoiceKind, rng: random.Random) -> _Offer | None:
    """The options of a question, or None where there is none whose answer is clear."""
    return _OFFERS[kind](pair, rng)


def _verdict(pair: MinedPair, rng: random.Random) -> _Offer:
    options = ["No", "Yes"] if rng.random() < SWAPPED_SHARE else ["Yes", "No"]
    return _Offer(table="verdict", right="Yes" if pair.defects else "No", shuffled=options)


def _type(pair: MinedPair, rng: random.Random) -> _Offer | None:
    wrong = wrong_types(pair, rng.randint(2, 3 if pair.defects else 4), rng)
    if not wrong:
        return None
    table = "type_several" if len(pair.labels) > 1 else "type_one"
    right = rng.choice(pair.labels) if pair.defects else NO_DEFECT
    shuffled = [right, *wrong] if pair.defects else wrong
    return _Offer(table=table, right=right, shuffled=shuffled, last=NO_DEFECT)


def _location(pair: MinedPair, rng: random.Random) -> _Offer | None:
    clear = [
        spot
        for spot in spots_of(pair)
        if len(spot.places) == 1
        and all(is_inside_a_cell(box, pair.query_size) for box in spot.boxes)
    ]
    spot = rng.choice(clear) if clear else None
    return _among(pair, spot, spot.places[0] if spot else None, PLACES, "location", rng)


def _size(pair: MinedPair, rng: random.Random) -> _Offer | None:
    clear = {defect.label for defect in pair.defects if is_clearly_of_its_size(defect.facts)}
    known = [one for one in spots_of(pair) if one.size and not one.is_each and one.label in clear]
    spot = rng.choice(known) if known else None
    return _among(pair, spot, spot.size if spot else None, get_args(SizeWord), "size", rng)


def _among(
    pair: MinedPair,
    spot: Spot | None,
    right: str | None,
    words: Sequence[str],
    table: str,
    rng: random.Random,
) -> _Offer | None:
    """One of ``words`` is right of a spot, or none of them of a normal pair."""
    if pair.defects and (spot is None or right is None):
        return None
    wrong = rng.sample([word for word in words if word != right], 3)
    values = _named(spot, is_alone=len(pair.labels) < 2, rng=rng)
    if spot is None or right is None:
        return _Offer(table=table, right=NO_DEFECT, shuffled=wrong, last=NO_DEFECT, values=values)
    last = NO_DEFECT if rng.random() < _WITH_NO_DEFECT else None
    return _Offer(table=table, right=right, shuffled=[right, *wrong], last=last, values=values)


def _named(spot: Spot | None, *, is_alone: bool, rng: random.Random) -> dict[str, str]:
    """How a question speaks of a spot; where it is alone, perhaps without telling its type."""
    is_one = spot is None or spot.is_one
    name = "the defect" if spot is None or spot.count == 1 else "the defects"
    if spot is not None and (not is_alone or rng.random() < 0.5):
        name = spot.noun.definite(spot.count)
    elif spot is not None:
        is_one = spot.count == 1
    return {
        "the": name,
        "is_are": "is" if is_one else "are",
        "does": "does" if is_one else "do",
        "takes": "takes" if is_one else "take",
    }


def _number(pair: MinedPair, rng: random.Random) -> _Offer | None:
    boxes = [box for box, _ in boxes_of(pair)]
    count = len(boxes)
    is_clear = count <= _MOST_COUNTED and not are_any_close(boxes, pair.query_size)
    if not is_clear or not pair.is_placed:
        return None
    near = [number for number in range(max(0, count - 3), count + 4) if number != count]
    options = [count, *rng.sample(near, 3)]
    write = rng.choice((str, lambda number: numeral(number) if number else "none"))
    return _Offer(table="number", right=write(count), shuffled=[write(one) for one in options])


_OFFERS: Mapping[ChoiceKind, Callable[[MinedPair, random.Random], _Offer | None]] = {
    "verdict": _verdict,
    "type": _type,
    "location": _location,
    "size": _size,
    "number": _number,
}
