"""Comparison captions of a pair: a sentence, in detail, as JSON, with boxes, or the types alone.

Knows neither choices nor dialogues.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.training.chat_ad import wording
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.phrasebook import Voice
from adcopilot_edge.training.chat_ad.sample import BOX_MARK
from adcopilot_edge.training.chat_ad.spots import Spot, boxes_of, spots_of
from adcopilot_edge.training.tasks import boxes_text, types_text
from adcopilot_edge.training.words import sentences
from adcopilot_edge.types import BBox, Task

CaptionKind = Literal["sentence", "detailed", "json", "boxed", "types"]
CAPTION_KINDS: tuple[CaptionKind, ...] = get_args(CaptionKind)
_RUNTIME_TASKS: Mapping[CaptionKind, Task] = {"sentence": "describe", "types": "classify"}
_NEEDS_PLACE = frozenset(("json", "boxed"))

RUNTIME_SHARE = 0.25
"""Share of samples that ask as the runtime does, word by word, and answer as it expects."""


@dataclass(frozen=True, slots=True)
class Written:
    """A question, its answer, and what the marks in the answer stand for, in their order."""

    question: str
    answer: str
    boxes: tuple[BBox, ...] = ()


def caption_kinds(pair: MinedPair) -> list[CaptionKind]:
    """The kinds of caption that ``pair`` can have."""
    return [kind for kind in CAPTION_KINDS if pair.is_placed or kind not in _NEEDS_PLACE]


def write_caption(pair: MinedPair, kind: CaptionKind, voice: Voice) -> Written:
    """A caption of one kind."""
    spots = spots_of(pair)
    task = _RUNTIME_TASKS.get(kind)
    is_runtime = task is not None and voice.likely(RUNTIME_SHARE)
    voice = voice.as_runtime() if is_runtime else voice
    question = DEFAULT_PROMPT.tasks[task] if task and is_runtime else voice.say("questions", kind)
    if kind == "types":
        return Written(question, types_text(pair.labels))
    if kind == "sentence":
        return Written(question, sentence(spots, voice))
    if kind == "boxed":
        return Written(question, _boxed(spots, voice), tuple(b for one in spots for b in one.boxes))
    if kind == "json":
        return Written(question, _json(pair, spots, voice), tuple(b for b, _ in boxes_of(pair)))
    return Written(question, detailed(pair, spots, voice))


def sentence(spots: tuple[Spot, ...], voice: Voice) -> str:
    """What differs, in one sentence."""
    if not spots:
        return voice.say("answers", "sentence_good")
    note = wording.note(spots, voice.rng)
    return voice.say(
        "answers",
        "sentence_bad",
        things=wording.things(spots, voice.rng),
        is_first="is" if spots[0].is_one else "are",
        note=note,
        note_cap=sentences(note),
    )


def detailed(pair: MinedPair, spots: tuple[Spot, ...], voice: Voice) -> str:
    """What differs, where it is, how it looks, and what is known of it."""
    if not spots:
        parts = [voice.say("answers", "opening_good")]
        for _ in range(voice.rng.randint(1, 2)):
            more = voice.say("answers", "more_good")
            parts += [more] if more not in parts else []
        return " ".join(parts)
    parts = [overview(spots, voice)]
    parts += _about_all(pair, spots, voice)
    if voice.likely(0.5):
        parts.append(voice.say("answers", "closing_bad"))
    return " ".join(parts)


def overview(spots: tuple[Spot, ...], voice: Voice) -> str:
    """What there is, without places."""
    return voice.say(
        "answers",
        "overview",
        things_only=wording.things(spots, voice.rng, with_place=False),
        is_first="is" if spots[0].is_one else "are",
    )


def about_spot(pair: MinedPair, spot: Spot, voice: Voice, *, is_alone: bool) -> str:
    """Where one spot is, how it looks and what is known of its type; perhaps nothing."""
    if voice.likely(0.7):
        where = where_spot(spot, voice)
        parts = [where, looks_spot(pair, spot, voice, is_alone=is_alone, is_again=bool(where))]
    else:
        parts = [looks_spot(pair, spot, voice, is_alone=is_alone), where_spot(spot, voice)]
    if spot.description and voice.likely(0.8):
        parts.append(known_of(spot, voice, is_alone=is_alone))
    return " ".join(part for part in parts if part)


def known_of(spot: Spot, voice: Voice, *, is_alone: bool) -> str:
    """What is known of a spot's type, which must be something."""
    meaning = wording.meaning(spot.description)
    name = f'"{spot.noun.name}"' if spot.noun.kind == "name" else spot.noun.name
    return voice.say(
        "answers",
        "knowledge",
        name=name,
        name_cap=f"The type {name}" if name.startswith('"') else sentences(name),
        meaning=meaning,
        known=sentences(meaning) if is_alone else "",
    )


def where_spot(spot: Spot, voice: Voice) -> str:
    """Where a spot is, in a sentence; nothing where that can't be told in words."""
    at = wording.at(spot)
    if not at and not spot.extent:
        return ""
    return voice.say(
        "answers",
        "spot_where",
        the=spot.noun.definite(spot.count),
        at=at,
        over=spot.extent,
        is_are="is" if spot.is_one else "are",
        lies="lies" if spot.is_one else "lie",
        extends="extends" if spot.is_one else "extend",
        stretches="stretches" if spot.is_one else "stretch",
    )


def looks_spot(
    pair: MinedPair, spot: Spot, voice: Voice, *, is_alone: bool, is_again: bool = False
) -> str:
    """How a spot looks, in a sentence; nothing where the pixels don't say."""
    found = wording.looks(spot, pair.rule, voice.template, voice.rng)
    if not found:
        return ""
    area = wording.area(spot, is_alone=is_alone, is_again=is_again)
    must = None if is_alone else "area"
    return voice.say("answers", "spot_looks", must=must, area=area, looks=found)


def _about_all(pair: MinedPair, spots: tuple[Spot, ...], voice: Voice) -> list[str]:
    is_alone = len(spots) == 1
    told = [about_spot(pair, spot, voice, is_alone=is_alone) for spot in spots]
    return [about for about in told if about]


def _boxed(spots: tuple[Spot, ...], voice: Voice) -> str:
    if not spots:
        return voice.say("answers", "boxed_good")
    return voice.say(
        "answers",
        "boxed_bad",
        things_boxed=wording.things_boxed(spots, voice.rng),
        is_first="is" if spots[0].is_one else "are",
    )


def _json(pair: MinedPair, spots: tuple[Spot, ...], voice: Voice) -> str:
    """The three keys of the spec, section 6; its marks are those of all boxes in reading order."""
    details = boxes_text((BOX_MARK, label) for _, label in boxes_of(pair))
    about = _about_all(pair, spots, voice) or ([overview(spots, voice)] if spots else [])
    voice = replace(voice, register="engineer")
    described = " ".join(about) or voice.say("answers", "more_good")
    return (
        f'{{"description": {json.dumps(sentence(spots, voice))}, "defect_details": {details}, '
        f'"defect_description": {json.dumps(described)}}}'
    )
