"""The prompts of a benchmark: with a template image or the query image alone, in two wordings.

``mmad`` has the words of the MMAD repository's script for Qwen2.5-VL, picture numbers included.
``bundle`` has those the bundle's model was trained with, and asks for a letter behind the options.
A question stands where the bundle asks its own, behind the query image.
"""

from __future__ import annotations

from typing import Literal

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.prompt import END_OF_TURN, VISION_SPAN, PromptTemplate

Wording = Literal["mmad", "bundle"]

_LETTER_ONLY = "Answer with the option's letter from the given choices directly! "
_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
_INSTRUCTION = (
    "\nYou are an industrial inspector who checks products by images. You should judge whether "
    "there is a defect in the query image and answer the questions about it.\n"
    "Answer with the option's letter from the given choices directly.\n" + _LETTER_ONLY
)
_TEMPLATE = (
    "Following is/are 1 image of normal sample, which can be used as a template to compare the "
    "image being queried."
)
_QUERY = "Following is the query image: "
_QUESTION = "Following is the question list: {question}" + END_OF_TURN + "\n<|im_start|>assistant\n"


def benchmark_prompt(
    own: PromptTemplate, wording: Wording, *, shots: int, asks_for_letter: bool = True
) -> PromptTemplate:
    """The prompt of a run; tasks and answer letters are those of ``own``.

    Without a template image ``golden`` ends with the query image, and ``test`` is not used.

    Args:
        own: The bundle's.
        wording: Whose words.
        shots: Template images before the query image, 0 or 1.
        asks_for_letter: Tell the model to answer by letter; not where the questions do it
            themselves. MMAD's words always do.

    Raises:
        ConfigError: More images are asked for than a bundle compares.
    """
    if shots not in (0, 1):
        raise ConfigError(
            f"a bundle compares the query image with one template, or looks at it alone: shots "
            f"must be 0 or 1, got {shots}"
        )
    if wording == "bundle":
        head, _, _ = own.golden.partition(VISION_SPAN)
        changed = {} if shots else {"golden": head + VISION_SPAN}
        if asks_for_letter:
            asked = "{question} " + _LETTER_ONLY.strip()
            changed["question"] = own.question.replace("{question}", asked)
        return own.model_copy(update=changed)
    head = _SYSTEM + _INSTRUCTION
    if not shots:
        golden = f"{head}{_QUERY}Picture 1: {VISION_SPAN}"
        return own.model_copy(update={"golden": golden, "question": _QUESTION})
    return own.model_copy(
        update={
            "golden": f"{head}{_TEMPLATE}Picture 1: {VISION_SPAN}",
            "test": f"{_QUERY}Picture 2: {VISION_SPAN}",
            "question": _QUESTION,
        }
    )
