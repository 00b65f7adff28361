"""Which defects a question is about, by its places, sizes and the like. Knows no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adcopilot_edge.training.chat_ad.teacher.details import DETAILS, Phrase
from adcopilot_edge.training.chat_ad.teacher.lexicon import EXCEPTIONS
from adcopilot_edge.training.chat_ad.teacher.sentence import Scene, SentenceCheck
from adcopilot_edge.training.chat_ad.teacher.truth import Truth


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question is about.

    truth: of the defects that it picks out, of the whole pair where it picks none; None where
    nobody can tell which. label: what ``it`` is in the answer.
    """

    truth: Truth | None
    label: str | None


def find_asked(
    parts: Sequence[Sequence[str]], truth: Truth, label: str | None, *, is_denied: bool = False
) -> Asked:
    """What a question of these sentences is about, ``label`` having been spoken of before.

    is_denied: It is answered with no, so that nothing needs to be as it asks.
    """
    checks = list[SentenceCheck]()
    for words in parts:
        checks.append(SentenceCheck(words, truth, Scene(label=label, is_question=True)))
        label = checks[-1].label
    telling = [one for one in checks if any(m.kind in DETAILS for m in one.mentions)]
    if not telling or len(truth.spots) < 2:
        return Asked(truth, label)
    phrase = _only_phrase(telling)
    if phrase is None:
        return Asked(None, None)
    if is_denied and phrase.noun is not None and phrase.noun.kind == "label":
        return Asked(truth, phrase.noun.value)
    spots = telling[0].details.picked(phrase)
    if not spots:
        return Asked(truth if is_denied and spots is not None else None, None)
    about = truth.only(spots)
    if label not in about.labels:
        label = next(iter(about.labels)) if len(about.labels) == 1 else None
    return Asked(about, label)


def _only_phrase(telling: Sequence[SentenceCheck]) -> Phrase | None:
    """The one phrase with places and the like; None for several, or where more is meant."""
    (check, *more) = telling
    polarity = check.polarity
    is_unclear = polarity.odd or polarity.denied or polarity.unclear
    phrases = check.details.phrases([one for one in check.mentions if one.kind in DETAILS])
    if more or is_unclear or EXCEPTIONS & {*check.words} or len(phrases) != 1:
        return None
    return phrases[0]
