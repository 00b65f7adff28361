"""The question where the defects of a pair are, answered by a JSON list of boxes and labels."""

from __future__ import annotations

from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.training.chat_ad.captions import RUNTIME_SHARE, Written
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.phrasebook import Voice
from adcopilot_edge.training.chat_ad.sample import BOX_MARK
from adcopilot_edge.training.chat_ad.spots import boxes_of
from adcopilot_edge.training.tasks import boxes_text


def write_location(pair: MinedPair, voice: Voice) -> Written:
    """All boxes of ``pair``, which must be placed; ``[]`` for a normal one."""
    is_runtime = voice.likely(RUNTIME_SHARE)
    asked = DEFAULT_PROMPT.tasks["locate"] if is_runtime else voice.say("questions", "locate")
    return Written(asked, boxes_answer(pair), tuple(box for box, _ in boxes_of(pair)))


def boxes_answer(pair: MinedPair) -> str:
    """The list with marks for the boxes, in reading order."""
    return boxes_text((BOX_MARK, label) for _, label in boxes_of(pair))
