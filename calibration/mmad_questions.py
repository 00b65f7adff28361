"""MMAD's multiple-choice questions as records, and how an answer in words becomes a letter.

Both follow the scripts of the MMAD repository: the options take the letters A, B, C ... in the
order in which they are listed, and of the model's words the last letter that stands alone counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from adcopilot_edge.errors import DatasetError

LETTERS = "ABCDE"
TASKS = (
    "Anomaly Detection",
    "Defect Classification",
    "Defect Localization",
    "Defect Description",
    "Defect Analysis",
    "Object Classification",
    "Object Analysis",
)
"""The seven tasks in the order of MMAD's tables."""

_FOLDED = {"Object Structure": "Object Analysis", "Object Details": "Object Analysis"}
_ALONE = re.compile(r"\b([A-E])\b")
_OPTION = re.compile(r"(?:^|(?<=\s))([A-E])[.:)]\s*(.+?)(?=\s+[A-E][.:)]\s|\s*$)", re.DOTALL)

HowRead = Literal["letter", "closest option", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question about one image.

    text: what the model is asked, options included. options: their words by letter, in order.
    answer: the right letter; in a list of prompts it may be words instead, and then there are no
    options. task: one of ``TASKS``, or a name of the list's own.
    """

    text: str
    options: Mapping[str, str]
    answer: str
    task: str


def read_question(entry: Any) -> Question:
    """A question of a container's ``conversation``: Question, Options, Answer and type.

    Raises:
        DatasetError: A key is missing, or the options are not 2 to 5 with the answer among them.
    """
    if not isinstance(entry, dict):
        raise DatasetError("a question must be a JSON object")
    words, listed, answer, task = (
        entry.get(key) for key in ("Question", "Options", "Answer", "type")
    )
    if not isinstance(words, str) or not isinstance(task, str) or not isinstance(listed, dict):
        raise DatasetError("a question needs Question, Options, Answer and type")
    if not 2 <= len(listed) <= len(LETTERS):
        raise DatasetError(f"a question has 2 to {len(LETTERS)} options, this one {len(listed)}")
    if answer not in listed:
        raise DatasetError(f"the answer {answer!r} is none of the options {', '.join(listed)}")
    letter_of = dict(zip(listed, LETTERS, strict=False))
    options = {letter_of[key]: str(option) for key, option in listed.items()}
    lines = "".join(f"{letter}. {option}\n" for letter, option in options.items())
    return Question(
        text=f"Question: {words} \n{lines}",
        options=options,
        answer=letter_of[answer],
        task=fold_task(task),
    )


def read_prompt(prompt: str, answer: str, task: str) -> Question:
    """A question of ``mmad_questions.json``, whose prompt is asked as it stands.

    Options are found in the prompt where it writes them as ``A. ... B. ...``; they count only if
    the answer is one of their letters.
    """
    options = dict(_OPTION.findall(prompt))
    letter = answer.strip().rstrip(".):").upper()
    if letter not in options:
        return Question(text=prompt, options={}, answer=answer.strip(), task=fold_task(task))
    return Question(text=prompt, options=options, answer=letter, task=fold_task(task))


def fold_task(task: str) -> str:
    """The column of MMAD's tables that a type of question belongs to."""
    return _FOLDED.get(task, task)


def parse_answer(words: str, question: Question) -> tuple[str, HowRead]:
    """The letter that the model's words mean, and how it was read.

    The last of A to E that stands alone, else the option whose text is closest to the words. As in
    MMAD there is no least closeness, so that any words give a letter; only no words at all are
    unreadable and give "".

    To a question without options, words that begin as the answer does are the answer itself, and
    all others unreadable.
    """
    if not question.options:
        is_right = words.strip().casefold().startswith(question.answer.casefold())
        return (question.answer, "letter") if is_right else ("", "unreadable")
    if alone := _ALONE.findall(words):
        return alone[-1], "letter"
    if not words.strip():
        return "", "unreadable"
    (closest,) = get_close_matches(words, question.options.values(), n=1, cutoff=0.0)
    letter = next(letter for letter, option in question.options.items() if option == closest)
    return letter, "closest option"


def order_tasks(tasks: Mapping[str, object]) -> list[str]:
    """The given tasks, MMAD's first and in its order, the others as they come."""
    return [*filter(tasks.__contains__, TASKS), *(task for task in tasks if task not in TASKS)]
