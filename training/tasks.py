"""The four tasks as words: questions and answers about a pair whose truth is known.

Answers have the forms of the AD-Copilot spec, section 6: a letter, the types, a JSON list of
``bbox_2d`` and ``label`` in pixels of the model's input, a sentence.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.prompt import DEFAULT_PROMPT, END_OF_TURN, NO_DEFECT, SWAPPED_VERDICT
from adcopilot_edge.training.places import place_word
from adcopilot_edge.training.words import article, listed
from adcopilot_edge.types import TASKS, BBox, LabelledPair, Task

# With as many swapped as plain letters neither the image nor the question alone says anything
# about the answer, and a small model that has to find both at once stays at chance.
SWAPPED_SHARE = 0.15

DEFAULT_NUM_QUESTIONS = 2
"""The verdict and one other."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question (closing the user's turn) and the answer with its end of turn."""

    task: Task
    question: str
    answer: str


def exchanges(pair: LabelledPair, rng: random.Random) -> list[Exchange]:
    """All four exchanges about ``pair``; some verdicts have their letters swapped."""
    return [_exchange(task, pair, rng) for task in TASKS]


def chosen_exchanges(
    pair: LabelledPair,
    rng: random.Random,
    tasks: Sequence[Task] = TASKS,
    num_questions: int = DEFAULT_NUM_QUESTIONS,
) -> list[Exchange]:
    """What a training sample asks about ``pair``: of ``tasks`` the verdict and some others.

    num_questions: how many at most, the verdict counted whether it is among ``tasks`` or not.

    About a pair whose defects nobody can place only the verdict is asked. Raises DatasetError where
    that leaves nothing to ask.
    """
    allowed = [task for task in tasks if task == "verdict" or not pair.is_unplaced]
    if not allowed:
        raise DatasetError(
            f"pair {pair.name}: nobody knows where its defect is, so only the verdict can be "
            f"asked, and this source asks {', '.join(tasks)}. Add verdict to its tasks"
        )
    made = [_exchange(task, pair, rng) for task in TASKS if task in allowed]
    verdicts = [item for item in made if item.task == "verdict"]
    others = [item for item in made if item.task != "verdict"]
    return [*verdicts, *rng.sample(others, min(num_questions - 1, len(others)))]


def _exchange(task: Task, pair: LabelledPair, rng: random.Random) -> Exchange:
    if task == "verdict":
        swapped = rng.random() < SWAPPED_SHARE
        words = SWAPPED_VERDICT if swapped else DEFAULT_PROMPT.tasks["verdict"]
        letter = DEFAULT_PROMPT.yes if pair.is_anomaly != swapped else DEFAULT_PROMPT.no
        return Exchange(task, DEFAULT_PROMPT.ask(words), letter + END_OF_TURN)
    answer = {"classify": _types, "locate": _boxes, "describe": _sentence}[task](pair)
    return Exchange(task, DEFAULT_PROMPT.ask_task(task), answer + END_OF_TURN)


def types_text(labels: Iterable[str]) -> str:
    """The answer which types of defect there are: each once, sorted, or "No defect"."""
    return ", ".join(sorted(set(labels))) or NO_DEFECT


def boxes_text(items: Iterable[tuple[str, str]]) -> str:
    """The answer where the defects are: a JSON list.

    Args:
        items: For each box its four numbers as text, ``[x1, y1, x2, y2]`` or what stands for them,
            and its label.
    """
    objects = (
        f'{{"bbox_2d": {numbers}, "label": {json.dumps(label)}}}' for numbers, label in items
    )
    return f"[{', '.join(objects)}]"


def reading_order(box: BBox) -> tuple[float, float]:
    """What boxes are sorted by: from the top, and from the left where two begin in one row."""
    return box[1], box[0]


def _types(pair: LabelledPair) -> str:
    return types_text(pair.labels)


def _boxes(pair: LabelledPair) -> str:
    return boxes_text(
        (json.dumps([round(value) for value in box]), label)
        for box, label in _in_reading_order(pair)
    )


def _sentence(pair: LabelledPair) -> str:
    if not pair.is_anomaly:
        return "The query sample shows no defect."
    height, width = pair.test.shape[:2]
    parts = [
        f"{article(label)} {label} at the {place_word(box, height=height, width=width)}"
        for box, label in _in_reading_order(pair)
    ]
    return f"The query sample shows {listed(parts)}."


def _in_reading_order(pair: LabelledPair) -> list[tuple[BBox, str]]:
    return sorted(
        zip(pair.boxes, pair.labels, strict=True), key=lambda item: reading_order(item[0])
    )
