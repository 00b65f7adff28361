"""Dialogues of two to five exchanges, in which later questions go on from earlier answers.

Knows which questions may follow; what they say is in ``exchanges.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adcopilot_edge.prompt import DEFAULT_PROMPT, SWAPPED_VERDICT
from adcopilot_edge.training.chat_ad import exchanges as x
from adcopilot_edge.training.chat_ad.captions import Written
from adcopilot_edge.training.chat_ad.exchanges import Talk, Topic, Write
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.phrasebook import Voice

_LEAST, _MOST = 2, 5
_IN_ORDER = 0.6


@dataclass(frozen=True, slots=True)
class _Step:
    """A question that may follow.

    about: what it asks; it isn't asked once that is known. also: what its answer tells besides.
    needs: what must be known before, of a defective pair.
    """

    write: Write
    about: Topic
    also: tuple[Topic, ...] = ()
    needs: Topic | None = None


# In the order in which people ask, from which a dialogue may depart.
_OPENINGS = (
    _Step(x.open_verdict, "verdict"),
    _Step(x.open_choice, "verdict"),
    _Step(x.open_named_verdict, "verdict", also=("kind", "number")),
    _Step(x.open_sentence, "verdict", also=("kind", "number", "where")),
    _Step(x.open_types, "verdict", also=("kind",)),
    _Step(x.open_boxes, "verdict", also=("kind", "number", "boxes")),
)
_FOLLOWING = (
    _Step(x.ask_kind, "kind", also=("number",)),
    _Step(x.ask_number, "number"),
    _Step(x.ask_where, "where"),
    _Step(x.ask_boxes, "boxes", also=("kind", "number")),
    _Step(x.ask_size, "size", needs="kind"),
    _Step(x.ask_looks, "looks", also=("size", "contrast"), needs="kind"),
    _Step(x.ask_contrast, "contrast", needs="kind"),
    _Step(x.ask_knowledge, "knowledge", needs="kind"),
    _Step(x.ask_other, "other", needs="kind"),
    _Step(x.ask_nothing, "nothing"),
    _Step(x.ask_template, "template", needs="kind"),
    _Step(x.ask_sure, "sure", needs="kind"),
)
_LAST = (
    _Step(x.ask_decision, "decision", needs="kind"),
    _Step(x.ask_summary, "summary", needs="kind"),
)
_WITH_LAST = 0.35
_RUNTIME_QUESTIONS = frozenset((*DEFAULT_PROMPT.tasks.values(), SWAPPED_VERDICT))


def write_dialogue(pair: MinedPair, voice: Voice) -> list[Written]:
    """A dialogue about ``pair``; the marks of all its answers are in their order."""
    talk = Talk(pair, voice)
    length = voice.rng.randint(_LEAST, _MOST)
    written: list[Written] = []
    _take_one(_shuffled(_OPENINGS, voice), talk, written)
    if written[0].question in _RUNTIME_QUESTIONS:
        talk.voice = voice.as_runtime()
    has_last = length > _LEAST and voice.likely(_WITH_LAST)
    while len(written) < length - has_last and (
        _take_one(_some(voice), talk, written) or _take_one(_FOLLOWING, talk, written)
    ):
        pass
    if has_last:
        _take_one(_shuffled(_LAST, voice), talk, written)
    return written


def _some(voice: Voice) -> list[_Step]:
    """Steps that may come next: those that people ask first, but for some, or in any order."""
    if voice.likely(_IN_ORDER):
        return [step for step in _FOLLOWING if voice.likely(0.6)]
    return _shuffled(_FOLLOWING, voice)


def _shuffled(steps: Sequence[_Step], voice: Voice) -> list[_Step]:
    return voice.rng.sample(steps, len(steps))


def _take_one(steps: Sequence[_Step], talk: Talk, written: list[Written]) -> bool:
    """Add the first step that is open and has something to say."""
    for step in steps:
        is_known = step.needs is None or step.needs in talk.told or talk.pair.is_normal
        if step.about in talk.told or not is_known:
            continue
        exchange = step.write(talk)
        if exchange is not None:
            talk.told |= {step.about, *step.also}
            written.append(exchange)
            return True
    return False
