"""One sentence of an answer, held against the truth of its pair: everything in it that is wrong.

The judge reads the words themselves and fails what it can't check. Knows no question and no box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adcopilot_edge.training.chat_ad.teacher.binding import (
    NOUNS,
    Clause,
    find_clauses,
    find_template_defects,
)
from adcopilot_edge.training.chat_ad.teacher.counting import check_numbers
from adcopilot_edge.training.chat_ad.teacher.details import DETAILS, Details
from adcopilot_edge.training.chat_ad.teacher.lexicon import stem, word_set
from adcopilot_edge.training.chat_ad.teacher.mentions import DEFECT_KINDS, Mention, find_mentions
from adcopilot_edge.training.chat_ad.teacher.polarity import Polarity, find_polarity
from adcopilot_edge.training.chat_ad.teacher.strangers import find_strangers
from adcopilot_edge.training.chat_ad.teacher.truth import Truth, label_words
from adcopilot_edge.training.chat_ad.teacher.vocabulary import is_known
from adcopilot_edge.training.chat_ad.teacher.words import BOX

_UNCHECKED = frozenset(("odd place", "colour", "unchecked"))
_DETAILS = _UNCHECKED | DETAILS
_MARKS = word_set("mark marks spot spots patch patches trace traces blob blobs dot dots")
_MORE = word_set("other further additional more else another")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a piece is not kept: a code, and the words that failed."""

    code: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a sentence stands in.

    label: the last label that was spoken of. asked_count: the question was how many. is_question:
    verdict words ask and do not claim, and details only tell what it is about. is_asked: it asks
    for yes or no.
    """

    label: str | None = None
    asked_count: bool = False
    is_question: bool = False
    is_asked: bool = False


class SentenceCheck:
    """A sentence and what the check of it found.

    failures: all that is wrong. affirmed: labels that it says to be there. label: the last of them,
    or the scene's. has_evidence: it says that nothing is wrong. is_about_defects: it mentions
    whether something is wrong, or what.
    """

    def __init__(self, words: Sequence[str], truth: Truth, scene: Scene) -> None:
        self.words = words
        self.truth = truth
        self.scene = scene
        self.mentions = find_mentions(words, truth)
        self.polarity: Polarity = find_polarity(words, self.mentions)
        self.clauses = find_clauses(words)
        spoken = [one.value for one in self.mentions if one.kind == "label"]
        affirmed = [one for one in self.mentions if self._is_affirmed_label(one)]
        self.affirmed = {one.value for one in affirmed}
        self.label = spoken[-1] if spoken else scene.label
        self.has_evidence = any(map(self._is_evidence, self.mentions))
        self.is_about_defects = any(
            one.kind in DEFECT_KINDS or one.kind == "normal" for one in self.mentions
        )
        self.details = Details(
            words, self.mentions, self.polarity, truth, scene.label, is_asked=scene.is_asked
        )
        self._wrong = self.details.failures(
            list(filter(self._is_checkable, self.mentions)), is_presumed=scene.is_question
        )
        self.failures = list(self._failures())

    def _is_affirmed_label(self, one: Mention) -> bool:
        is_affirmed = one.kind == "label" and self.polarity.is_affirmed(one)
        return is_affirmed and not self._clause(one.start).is_template

    def _is_evidence(self, one: Mention) -> bool:
        if self._clause(one.start).is_template:
            return False
        if one.kind in DEFECT_KINDS:
            return self.polarity.is_denied(one)
        is_same = one.kind == "normal" or one.value == "similar in tone"
        return is_same and self.polarity.is_affirmed(one)

    def _failures(self) -> Iterator[Failure]:
        if self.polarity.odd:
            yield Failure("negation_unclear", " ".join(self.polarity.odd))
        for one in self.mentions:
            if code := self._code(one):
                yield Failure(code, self._text(one))
        for code, start, end in check_numbers(
            self.words, self.mentions, self.polarity, self.truth, self.scene.asked_count, self.label
        ):
            yield Failure(code, " ".join(self.words[start:end]))
        for start, end in find_strangers(self.words, self.mentions, self.truth):
            yield Failure("unknown_thing", " ".join(self.words[start:end]))
        yield from self._unknown_words()
        for start, end in find_template_defects(self.words, self.mentions, self.polarity):
            yield Failure("template", " ".join(self.words[start:end]))
        if not self.truth.is_anomaly:
            yield from self._exceptions()

    def _code(self, one: Mention) -> str | None:
        """The code of what is wrong with a mention."""
        is_denied, is_affirmed = self.polarity.is_denied(one), self.polarity.is_affirmed(one)
        clause = self._clause(one.start)
        if clause.is_template:
            is_claim = one.kind in DEFECT_KINDS and not is_denied
            is_claim = is_claim or (one.kind == "normal" and not is_affirmed)
            return "template" if is_claim or one.kind in _DETAILS else None
        if not is_denied and not is_affirmed and one.kind in DEFECT_KINDS | {"normal"}:
            return "negation_unclear"
        if self.truth.is_anomaly:
            return self._anomaly_code(one, clause, is_denied)
        return self._normal_code(one, clause, is_denied)

    def _anomaly_code(self, one: Mention, clause: Clause, is_denied: bool) -> str | None:
        if one.kind == "label":
            return "denied_label" if is_denied and not self._is_more(one) else None
        if one.kind in ("other", "thing"):
            return (
                None if is_denied else {"other": "other_label", "thing": "unknown_defect"}[one.kind]
            )
        if one.kind == "generic":
            is_whole = is_denied and not (clause.has_exception or self._is_more(one))
            return "verdict" if is_whole else None
        if one.kind == "normal":
            return "verdict" if is_denied == self._is_of_an_exception(clause) else None
        if one.kind in _DETAILS:
            return None if self._is_of_the_rest(clause) else self._detail_code(one)
        return None

    def _normal_code(self, one: Mention, clause: Clause, is_denied: bool) -> str | None:
        if one.kind in DEFECT_KINDS:
            is_asked = self.scene.is_question and one.kind == "generic"
            return None if is_denied or is_asked else "invented_defect"
        if one.kind == "vague":
            is_mark = self.words[one.start] in _MARKS
            return "invented_defect" if is_mark and not is_denied else None
        if one.kind == "normal":
            return "invented_defect" if is_denied else None
        if one.kind in _DETAILS and not is_denied and one.value != "similar in tone":
            inside = [m for m in self.mentions if clause.start <= m.start < clause.end]
            return None if any(map(self._is_evidence, inside)) else "invented_detail"
        return None

    def _is_checkable(self, one: Mention) -> bool:
        """Whether a detail is one that is held against the defects."""
        clause = self._clause(one.start)
        is_of_none = clause.is_template or self._is_of_the_rest(clause)
        return self.truth.is_anomaly and one.kind in DETAILS and bool(one.value) and not is_of_none

    def _detail_code(self, one: Mention) -> str | None:
        """What is wrong with a place, size, contrast, shape or direction of a defect."""
        if one.kind in _UNCHECKED:
            return "place_unchecked" if one.kind == "odd place" else one.kind
        if one.kind == "place" and self.words[one.end : one.end + 1] in (["image"], ["picture"]):
            return "place_unchecked"
        return "place" if not one.value else self._wrong.get(one)

    def _is_of_the_rest(self, clause: Clause) -> bool:
        inside = [m for m in self.mentions if clause.start <= m.start < clause.end]
        is_normal = any(m.kind == "normal" and self.polarity.is_affirmed(m) for m in inside)
        return is_normal and clause.has_exception and not any(m.kind in NOUNS for m in inside)

    def _is_of_an_exception(self, clause: Clause) -> bool:
        """Whether all but something is meant, as in ``apart from the scratch``."""
        words = {*self.words} if len(self.clauses) > 1 else {*self.words[clause.start : clause.end]}
        return clause.has_exception and bool(words & EXCEPTIONS_OF_NORMAL)

    def _is_more(self, one: Mention) -> bool:
        """Whether only more of it is denied, as in ``no other scratch``."""
        return bool(_MORE & {*self.words[max(0, one.start - 3) : one.start]})

    def _unknown_words(self) -> Iterator[Failure]:
        inside = {i for one in self.mentions for i in range(one.start, one.end)}
        others = {stem(part) for label in self.truth.others for part in label_words(label)}
        for index, word in enumerate(self.words):
            if index in inside or is_known(word) or word == BOX:
                continue
            if stem(word) not in self.truth.words | others:
                yield Failure("unknown_word", word)

    def _exceptions(self) -> Iterator[Failure]:
        """A normal pair has no exception."""
        for clause in self.clauses:
            inside = {*self.words[clause.start : clause.end]} - _MORE
            if clause.has_exception and inside & EXCEPTIONS_OF_NORMAL:
                yield Failure("exception", " ".join(sorted(inside & EXCEPTIONS_OF_NORMAL)))

    def _clause(self, index: int) -> Clause:
        return next(one for one in self.clauses if one.start <= index < one.end)

    def _text(self, one: Mention) -> str:
        return " ".join(self.words[one.start : one.end])


EXCEPTIONS_OF_NORMAL = word_set(
    """
    otherwise elsewhere rest remaining remainder apart aside except besides excluding
    """
)
