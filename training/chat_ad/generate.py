"""From a mined pair to samples of Chat-AD, by templates alone: no model, no network.

A pure function of its arguments, so it may run anywhere and in any order. Knows no files.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.chat_ad.captions import (
    CaptionKind,
    Written,
    caption_kinds,
    write_caption,
)
from adcopilot_edge.training.chat_ad.choices import ChoiceKind, choice_kinds, write_choice
from adcopilot_edge.training.chat_ad.dialogues import write_dialogue
from adcopilot_edge.training.chat_ad.locating import write_location
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.pair_sample import sample_of
from adcopilot_edge.training.chat_ad.phrasebook import Voice, draw_voice
from adcopilot_edge.training.chat_ad.sample import SAMPLE_TASKS, ChatSample, SampleTask, Turn
from adcopilot_edge.training.chat_ad.wording import product_of

_Kind = TypeVar("_Kind", bound=str)

# How often each kind comes first, relative to the others.
_CAPTIONS: Mapping[CaptionKind, float] = {
    "sentence": 3,
    "detailed": 3,
    "json": 2,
    "boxed": 1,
    "types": 1,
}
_CHOICES: Mapping[ChoiceKind, float] = {
    "verdict": 3,
    "type": 3,
    "location": 2,
    "size": 1,
    "number": 1,
}


def generate(
    pair: MinedPair, *, tasks: Sequence[SampleTask], per_pair: int, seed: int
) -> list[ChatSample]:
    """Samples about one pair, the same whenever the arguments are.

    The samples of a task depend neither on the other tasks nor on how many are wanted: a larger
    ``per_pair`` adds further ones behind them.

    Args:
        pair: Whom the samples are about.
        tasks: What they are for, in this order.
        per_pair: How many of each task, 0 or more; fewer where two would be equal, and none of
            ``locate`` for a pair of which a defect has no place.
        seed: Another one gives other words and other questions.

    Raises:
        ConfigError: A task is unknown, or ``per_pair`` is negative.
    """
    unknown = sorted(set(tasks) - set(SAMPLE_TASKS))
    if unknown or per_pair < 0:
        raise ConfigError(
            f"tasks must be of {', '.join(SAMPLE_TASKS)} and per_pair 0 or more, "
            f"got {', '.join(unknown) or per_pair}"
        )
    samples = []
    for task in tasks:
        seen = set()
        for number in range(per_pair):
            sample = _sample(pair, task, number, seed)
            if sample is not None and sample.turns not in seen:
                seen.add(sample.turns)
                samples.append(sample)
    return samples


def random_for(*parts: object) -> random.Random:
    """A generator that depends on the parts alone, the same in every process."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def _sample(pair: MinedPair, task: SampleTask, number: int, seed: int) -> ChatSample | None:
    voice = draw_voice(product_of(pair), random_for(seed, pair.key, task, number))
    exchanges, letter = _write(pair, task, number, voice, random_for(seed, pair.key, task))
    if not exchanges:
        return None
    turns = [
        turn
        for one in exchanges
        for turn in (Turn("user", one.question), Turn("assistant", one.answer))
    ]
    bboxes = [box for one in exchanges for box in one.boxes]
    return sample_of(pair, task, str(number), turns, bboxes=bboxes, choice=letter)


def _write(
    pair: MinedPair, task: SampleTask, order: int, voice: Voice, first: random.Random
) -> tuple[Sequence[Written], str | None]:
    """The exchanges of a sample, and the letter of the right option of a choice.

    order: which of the kinds that the pair can have; ``first`` draws their order.
    """
    if task == "caption":
        kinds = _drawn(caption_kinds(pair), _CAPTIONS, first)
        return [write_caption(pair, kinds[order % len(kinds)], voice)], None
    if task == "choice":
        choices = _drawn(choice_kinds(pair), _CHOICES, first)
        choice = write_choice(pair, choices[order % len(choices)], voice)
        return [Written(choice.question, choice.answer)], choice.letter
    if task == "locate":
        return ([write_location(pair, voice)] if pair.is_placed else []), None
    return write_dialogue(pair, voice), None


def _drawn(
    kinds: Sequence[_Kind], weights: Mapping[_Kind, float], rng: random.Random
) -> list[_Kind]:
    """``kinds`` in an order in which one of twice the weight comes first twice as often."""
    places = {kind: rng.random() ** (1 / weights[kind]) for kind in kinds}
    return sorted(kinds, key=lambda kind: -places[kind])
