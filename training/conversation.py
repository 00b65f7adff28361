"""A dialogue as the model reads it: the processor's own template, and which tokens are answers.

The images stand in the first turn as the runtime's prompt has them, so that one prefill of a golden
image serves a trained model too. Knows no positions and no sizes of images.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerFast

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.prompt import DEFAULT_PROMPT, END_OF_TURN, VISION_SPAN
from adcopilot_edge.training.chat_ad.sample import Turn

_SPECIAL = re.compile(r"<\|[a-z_]+\|>")
_BEHIND_GOLDEN = DEFAULT_PROMPT.golden.split(VISION_SPAN)[1]
_BEHIND_TEST = DEFAULT_PROMPT.question.split(END_OF_TURN)[0]


@dataclass(frozen=True, slots=True)
class Encoded:
    """The ids of a dialogue with one placeholder an image; is_answer: what to be predicted."""

    ids: list[int]
    is_answer: list[bool]


def chat_messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """The turns as messages of transformers' chat templates; both images in the first.

    Raises DatasetError for a text that holds one of the tokenizer's control tokens.
    """
    for turn in turns:
        if found := _SPECIAL.search(turn.text):
            raise DatasetError(f"a turn holds {found[0]}, which only a template may write")
    opening = [
        {"type": "image"},
        {"type": "text", "text": _BEHIND_GOLDEN},
        {"type": "image"},
        {"type": "text", "text": _BEHIND_TEST.format(question=turns[0].text)},
    ]
    return [
        {"role": "user", "content": opening},
        *(
            {"role": turn.role, "content": [{"type": "text", "text": turn.text}]}
            for turn in turns[1:]
        ),
    ]


def encode_turns(
    tokenizer: PreTrainedTokenizerFast, template: str, turns: Sequence[Turn]
) -> Encoded:
    """Tokenize a dialogue by the processor's ``template``; answers go up to their end of turn.

    The whole text is tokenized at once, as the processor does: words at a border between two turns
    would not always come out the same apart.

    Raises:
        ConfigError: The template does not write turns one behind the other.
        DatasetError: A turn holds a control token.
    """
    messages = chat_messages(turns)

    def render(count: int, *, is_open: bool = False) -> str:
        text = tokenizer.apply_chat_template(
            messages[:count],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=is_open,
        )
        assert isinstance(text, str)
        return text

    text = render(len(messages))
    spans = []
    for place, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        before = render(place, is_open=True)
        if not text.startswith(before + turn.text + tokenizer.eos_token):
            raise ConfigError(
                "the chat template of this checkpoint changes what was said once more is said, so "
                "its dialogues can't be trained on in one pass"
            )
        spans.append((len(before), len(before) + len(turn.text) + len(tokenizer.eos_token)))
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    is_answer = [
        any(start >= first and end <= last for first, last in spans)
        for start, end in coded["offset_mapping"]
    ]
    return Encoded(list(coded["input_ids"]), is_answer)
