"""The four tasks as words: questions and answers about a pair whose truth is known.

Answers have the forms of the AD-Copilot spec, section 6: a letter, the types, a JSON list of
``bbox_2d`` and ``label`` in pixels of the model's input, a sentence.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from adcopilot_edge.prompt import DEFAULT_PROMPT, END_OF_TURN, NO_DEFECT, SWAPPED_VERDICT
from adcopilot_edge.training.places import place_word
from adcopilot_edge.types import TASKS, BBox, LabelledPair, Task

# With as many swapped as plain letters neither the image nor the question alone says anything
# about the answer, and a small model that has to find both at once stays at chance.
_SWAPPED_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question (closing the user's turn) and the answer with its end of turn."""

    task: Task
    question: str
    answer: str


def exchanges(pair: LabelledPair, rng: random.Random) -> list[Exchange]:
    """All four exchanges about ``pair``; some verdicts have their letters swapped."""
    return [_exchange(task, pair, rng) for task in TASKS]


def chosen_exchanges(pair: LabelledPair, rng: random.Random) -> list[Exchange]:
    """The verdict and one other exchange: what a training sample asks about ``pair``."""
    verdict, *others = exchanges(pair, rng)
    return [verdict, rng.choice(others)]


def _exchange(task: Task, pair: LabelledPair, rng: random.Random) -> Exchange:
    if task == "verdict":
        swapped = rng.random() < _SWAPPED_SHARE
        words = SWAPPED_VERDICT if swapped else DEFAULT_PROMPT.tasks["verdict"]
        letter = DEFAULT_PROMPT.yes if pair.is_anomaly != swapped else DEFAULT_PROMPT.no
        return Exchange(task, DEFAULT_PROMPT.ask(words), letter + END_OF_TURN)
    answer = {"classify": _types, "locate": _boxes, "describe": _sentence}[task](pair)
    return Exchange(task, DEFAULT_PROMPT.ask_task(task), answer + END_OF_TURN)


def _types(pair: LabelledPair) -> str:
    return ", ".join(sorted(set(pair.labels))) or NO_DEFECT


def _boxes(pair: LabelledPair) -> str:
    items = [
        {"bbox_2d": [round(value) for value in box], "label": label}
        for box, label in _in_reading_order(pair)
    ]
    return json.dumps(items)


def _sentence(pair: LabelledPair) -> str:
    if not pair.is_anomaly:
        return "The query sample shows no defect."
    height, width = pair.test.shape[:2]
    parts = [
        f"{_article(label)} {label} at the {place_word(box, height=height, width=width)}"
        for box, label in _in_reading_order(pair)
    ]
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"The query sample shows {listed}."


def _in_reading_order(pair: LabelledPair) -> list[tuple[BBox, str]]:
    return sorted(zip(pair.boxes, pair.labels, strict=True), key=lambda item: item[0][1::-1])


def _article(label: str) -> str:
    return "an" if label[0] in "aeiou" else "a"
