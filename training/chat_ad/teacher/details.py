"""Places, sizes, contrasts and shapes, held against the defects that a sentence says them of.

``a small scratch at the left`` needs one defect of which all of it is true, ``both scratches`` and
other plurals need it of all, ``the scratch`` of that which the words beside it pick out. What is
true of some and not of others is unchecked. Knows neither clauses nor a question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

from adcopilot_edge.training.chat_ad.teacher.binding import adjective_nouns, place_nouns
from adcopilot_edge.training.chat_ad.teacher.lexicon import (
    EXCEPTIONS,
    NUMBERS,
    SEVERAL,
    SINGLE,
    stem,
    word_set,
)
from adcopilot_edge.training.chat_ad.teacher.mentions import Mention
from adcopilot_edge.training.chat_ad.teacher.polarity import BREAKERS, Polarity
from adcopilot_edge.training.chat_ad.teacher.truth import Facet, Spot, Truth, grid_cell, is_at

PLACES = frozenset(("place", "corner", "edge"))
DETAILS = PLACES | {"size", "contrast", "shape", "direction"}

_BEFORE = 4  # words of a noun phrase before its noun
_ENDS = BREAKERS | word_set(", ( ) and is are was were of at in on has have shows show with")
_INDEFINITE = word_set("a an any some")
_DEFINITE = word_set("the this that its their")
_COUNTING = SEVERAL | SINGLE | frozenset(NUMBERS) | EXCEPTIONS | word_set("all each every only")
_BESIDE = word_set("at in on near the a an of to")
"""What stands between a noun and a place that only tells which one is meant."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun, or None for what was spoken of before, and the details that are said of it."""

    noun: Mention | None
    details: list[Mention]


class Details:
    """The details of a sentence.

    Args:
        words: The sentence.
        mentions: All of it.
        polarity: What it denies.
        truth: Of the pair, or of the part of it that is spoken of.
        label: That was spoken of last.
        is_asked: The sentence asks for yes or no, so that its last detail is what it asks.
    """

    def __init__(
        self,
        words: Sequence[str],
        mentions: Sequence[Mention],
        polarity: Polarity,
        truth: Truth,
        label: str | None,
        *,
        is_asked: bool = False,
    ) -> None:
        self._words = words
        self._mentions = mentions
        self._polarity = polarity
        self._truth = truth
        self._label = label
        self._is_asked = is_asked

    def failures(
        self, details: Sequence[Mention], *, is_presumed: bool = False
    ) -> dict[Mention, str]:
        """The codes of those that do not hold: the kind, or ``unchecked`` where nobody can tell.

        is_presumed: they only tell which defects a question is about, so one of which they are true
        is enough.
        """
        wrong: dict[Mention, str] = {}
        for phrase in self.phrases(details):
            for detail, holds in self._judge(phrase, is_presumed=is_presumed):
                if not holds:
                    kind = "place" if detail.kind in PLACES else detail.kind
                    wrong.setdefault(detail, "unchecked" if holds is None else kind)
        return wrong

    def phrases(self, details: Sequence[Mention]) -> list[Phrase]:
        """The details by their nouns; those of nouns that fail by themselves are left out."""
        owned: dict[Mention | None, list[Mention]] = {}
        for one in details:
            find = place_nouns if one.kind in PLACES else adjective_nouns
            nouns = find(one, self._mentions, self._words)
            if any(noun.kind in ("other", "thing") for noun in nouns):
                continue
            for noun in nouns or (None,):
                owned.setdefault(noun, []).append(one)
        return [Phrase(noun, of_noun) for noun, of_noun in owned.items()]

    def picked(self, phrase: Phrase) -> list[Spot] | None:
        """The spots that all of a phrase is true of; None where that can't be told.

        Of a phrase without a noun, it must be the same with what was spoken of before as without.
        """
        noun = phrase.noun
        label = noun.value if noun and noun.kind == "label" else None
        found = self._true_of(phrase, label)
        if noun is None and self._label in self._truth.labels:
            return found if found == self._true_of(phrase, self._label) else None
        return found

    def _true_of(self, phrase: Phrase, label: str | None) -> list[Spot] | None:
        spots = self._truth.spots_of(label)
        holds = [self._all_hold(phrase.details, spot, phrase.details) for spot in spots]
        if None in holds:
            return None
        return [spot for spot, one in zip(spots, holds, strict=True) if one]

    def _judge(self, phrase: Phrase, *, is_presumed: bool) -> Iterator[tuple[Mention, bool | None]]:
        """Each detail of a phrase with whether it holds."""
        noun = phrase.noun
        is_told = (
            noun is not None and noun.kind != "label" and (is_presumed or any(self._given(noun)))
        )
        label = None if is_told else self._label_of(noun)
        label = label if label in self._truth.labels else None
        found = self._of_phrase(phrase, self._truth.spots_of(label), is_presumed=is_presumed)
        if noun is None or noun.kind == "label":
            yield from found.items()
            return
        if label is not None:
            of_any = self._of_phrase(phrase, self._truth.spots, is_presumed=is_presumed)
            found = {one: _agreed([holds, of_any[one]]) for one, holds in found.items()}
        is_named = self._is_named(phrase, noun)
        yield from ((one, _both(holds, is_named)) for one, holds in found.items())

    def _of_phrase(
        self, phrase: Phrase, spots: Sequence[Spot], *, is_presumed: bool
    ) -> dict[Mention, bool | None]:
        affirmed = [one for one in phrase.details if not self._polarity.is_denied(one)]
        denied = [one for one in phrase.details if one not in affirmed]
        found: dict[Mention, bool | None] = {}
        if len(spots) == 1:
            found = {one: self._holds(one, spots[0], affirmed) for one in affirmed}
        elif affirmed:
            together = self._together(phrase.noun, affirmed, spots, is_presumed=is_presumed)
            found = self._blamed(affirmed, together, spots)
        meant = [x for x in spots if self._all_hold(affirmed, x, affirmed)] or spots
        for one in denied:
            holds = _agreed([self._holds(one, spot, phrase.details) for spot in meant])
            found[one] = None if holds is None else not holds
        return found

    def _together(
        self,
        noun: Mention | None,
        details: Sequence[Mention],
        spots: Sequence[Spot],
        *,
        is_presumed: bool,
    ) -> bool | None:
        """Whether details hold together of what their noun stands for, which is one of several."""
        each = [self._all_hold(details, spot, details) for spot in spots]
        if True not in each:
            is_listed = (noun is None or self._is_many(noun)) and self._are_covered(details, spots)
            return True if is_listed else _agreed(each)
        if all(each) or is_presumed:
            return True
        if noun is None or self._is_many(noun):
            return None
        if not self._is_definite(noun):
            return True
        picking = [one for one in details if self._picks(one, noun)]
        is_label_asked = noun.kind != "label" and self._mentions[-1].kind == "label"
        if self._is_asked and len(picking) == len(details) and not is_label_asked:
            picking = picking[:-1]
        told = [one for one in details if one not in picking]
        meant = [spot for spot in spots if self._all_hold(picking, spot, details) is not False]
        return _agreed([self._all_hold(told, spot, details) for spot in meant])

    def _blamed(
        self, details: Sequence[Mention], together: bool | None, spots: Sequence[Spot]
    ) -> dict[Mention, bool | None]:
        """A failure goes to the details that hold of no spot, or else to the last."""
        if together is not False:
            return dict.fromkeys(details, together)
        nowhere = [
            one for one in details if not any(self._holds(one, spot, details) for spot in spots)
        ]
        return {one: one not in (nowhere or details[-1:]) for one in details}

    def _are_covered(self, details: Sequence[Mention], spots: Sequence[Spot]) -> bool:
        """Whether places that ``and`` joins have a spot each, and every spot is at one of them."""
        joined = self._words[details[0].end : details[-1].start]
        if any(one.kind != "place" for one in details) or "and" not in joined:
            return False
        at = [[bool(self._holds(one, spot, details)) for spot in spots] for one in details]
        return all(map(any, at)) and all(map(any, zip(*at, strict=True)))

    def _given(self, noun: Mention) -> tuple[set[str], set[str]]:
        """The labels that a sentence gives ``the defect at the left``, and those that it denies."""
        after = [one for one in self._mentions if one.start >= noun.end]
        end = next((one.start for one in after if one.kind == "generic"), len(self._words))
        labels = [one for one in after if one.kind == "label" and one.start < end]
        return (
            {one.value for one in labels if self._polarity.is_affirmed(one)},
            {one.value for one in labels if self._polarity.is_denied(one)},
        )

    def _is_named(self, phrase: Phrase, noun: Mention) -> bool | None:
        """Whether a noun that is no label has those labels that a sentence gives it."""
        names, denied = self._given(noun)
        if len(self._truth.spots) < 2 or not names | denied:
            return True
        spots = self.picked(replace(phrase, details=self._affirmed(phrase.details)))
        if not spots:
            return None
        is_one = [one.label not in denied and (not names or one.label in names) for one in spots]
        return _agreed(is_one) if len(names) < 2 else (None if all(is_one) else False)

    def _affirmed(self, details: Iterable[Mention]) -> list[Mention]:
        return [one for one in details if not self._polarity.is_denied(one)]

    def _label_of(self, noun: Mention | None) -> str | None:
        """The label that a noun stands for: its own, or the last one before it."""
        if noun is None:
            return self._label
        if noun.kind == "label":
            return noun.value
        before = [m.value for m in self._mentions if m.kind == "label" and m.start < noun.start]
        return before[-1] if before else self._label

    def _all_hold(
        self, details: Sequence[Mention], spot: Spot, beside: Sequence[Mention]
    ) -> bool | None:
        holds = [self._holds(one, spot, beside) for one in details]
        return False if False in holds else (None if None in holds else True)

    def _holds(self, one: Mention, spot: Spot, beside: Sequence[Mention]) -> bool | None:
        """Whether a detail is true of a spot; beside: all that is said of it in the same breath."""
        if one.kind in PLACES or one.kind == "direction":
            return None if spot.box is None else _lies(one, spot, spot.box)
        is_of_one = not spot.is_alone and any(other.kind in PLACES for other in beside)
        value = spot.facets.get(cast(Facet, one.kind))
        return None if value is None or is_of_one else value == one.value

    def _before(self, noun: Mention) -> list[str]:
        """The words of a noun's phrase before it, the nearest first."""
        found = list[str]()
        for word in reversed(self._words[max(0, noun.start - _BEFORE) : noun.start]):
            if word in _ENDS:
                break
            found.append(word)
        return found

    def _is_many(self, noun: Mention) -> bool:
        """Whether a noun is plural, or counted."""
        word = self._words[noun.end - 1]
        is_counted = any(one in _COUNTING or one[0].isdigit() for one in self._before(noun))
        return is_counted or (word.endswith("s") and stem(word) != word)

    def _is_definite(self, noun: Mention) -> bool:
        articles = (one for one in self._before(noun) if one in _DEFINITE | _INDEFINITE)
        return next(articles, "") in _DEFINITE

    def _picks(self, detail: Mention, noun: Mention) -> bool:
        """Whether a detail stands right at its noun and only tells which one is meant."""
        if detail.start < noun.start:
            return not _ENDS & {*self._words[detail.end : noun.start]}
        return {*self._words[noun.end : detail.start]} <= _BESIDE


def _lies(one: Mention, spot: Spot, box: tuple[float, float, float, float]) -> bool:
    if one.kind == "direction":
        width, height = box[2] - box[0], box[3] - box[1]
        return width > height if one.value == "horizontal" else height > width
    place = spot.facets["place"]
    row, column = grid_cell(place)
    if one.kind == "corner":
        return row != "middle" and column != "centre"
    return (row, column) != ("middle", "centre") if one.kind == "edge" else is_at(place, one.value)


def _agreed(values: Sequence[bool | None]) -> bool | None:
    """What all agree on; None where they do not, or one is unknown."""
    return values[0] if len({*values}) == 1 else None


def _both(first: bool | None, second: bool | None) -> bool | None:
    return False if False in (first, second) else (None if None in (first, second) else True)
