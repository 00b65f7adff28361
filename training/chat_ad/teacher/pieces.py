"""A teacher's answer as samples, and what of it is not kept and why. Sends and stores nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.pair_sample import sample_of
from adcopilot_edge.training.chat_ad.sample import ChatSample, Turn
from adcopilot_edge.training.chat_ad.teacher.answer import (
    Choice,
    Exchange,
    MalformedError,
    Sentence,
    read_answer,
    read_piece,
)
from adcopilot_edge.training.chat_ad.teacher.cache import StoredAnswer
from adcopilot_edge.training.chat_ad.teacher.claims import judge_caption, judge_exchange
from adcopilot_edge.training.chat_ad.teacher.options import choice_failures, lay_out
from adcopilot_edge.training.chat_ad.teacher.sentence import Failure
from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings, TeacherTask
from adcopilot_edge.training.chat_ad.teacher.structured import mark_boxes
from adcopilot_edge.training.chat_ad.teacher.truth import Truth
from adcopilot_edge.training.chat_ad.teacher.words import BOX, plain
from adcopilot_edge.types import BBox

_CAPTION_QUESTIONS = (
    "Compare the query sample with the normal sample and describe what you find.",
    "Describe the query sample in comparison with the template.",
    "What does a comparison of the query sample with the template show?",
    "Inspect the query sample against the normal sample and report the result.",
    "Write a short inspection report about the query sample.",
)
_CUT = "length"  # how servers call an answer that ended at the most tokens
_WITH_BOXES = " Give the box of every defect."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A piece of an answer: its sample, or why there is none."""

    task: TeacherTask
    sample: ChatSample | None = None
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class _Draft:
    """Turns with marks, what the marks stand for, and what is wrong."""

    turns: tuple[Turn, ...]
    bboxes: tuple[BBox, ...]
    failures: tuple[Failure, ...]
    letter: str | None = None


def judge_answer(answer: StoredAnswer, pair: MinedPair, settings: TeacherSettings) -> list[Outcome]:
    """The outcome of each task, each judged by itself.

    All fail where the verdict is wrong, the answer was cut off, or it is no JSON object.
    """
    tasks = settings.tasks
    if answer.finish == _CUT:
        return _all_failed(tasks, "cut", f"after max_answer_tokens {settings.max_answer_tokens}")
    try:
        values = read_answer(answer.text)
    except MalformedError as err:
        return _all_failed(tasks, "malformed", str(err))
    verdict = "normal" if pair.is_normal else "anomaly"
    if values.get("verdict") != verdict:
        return _all_failed(tasks, "verdict", str(values.get("verdict")))
    truth = Truth.of(pair, settings.known_words)
    return [_judge(values, pair, truth, task, settings) for task in tasks]


def _all_failed(tasks: Sequence[TeacherTask], code: str, words: str) -> list[Outcome]:
    return [Outcome(task=task, failures=(Failure(code, words),)) for task in tasks]


def _judge(
    values: dict[str, Any],
    pair: MinedPair,
    truth: Truth,
    task: TeacherTask,
    settings: TeacherSettings,
) -> Outcome:
    try:
        piece = read_piece(values, task)
    except MalformedError as err:
        return Outcome(task=task, failures=(Failure("malformed", str(err)),))
    if task == "caption":
        draft = _caption(piece, pair, truth, settings.min_iou)
    elif task == "dialogue":
        draft = _dialogue(piece, pair, truth, settings.min_iou)
    else:
        draft = _choice(piece, pair, truth)
    if draft.failures:
        return Outcome(task=task, failures=draft.failures)
    sample = sample_of(
        pair,
        task,
        "teacher",
        draft.turns,
        bboxes=draft.bboxes,
        choice=draft.letter,
        author=settings.model,
    )
    return Outcome(task=task, sample=sample)


def _caption(parts: list[Sentence], pair: MinedPair, truth: Truth, min_iou: float) -> _Draft:
    if not parts:
        return _Draft((), (), (Failure("empty", "caption"),))
    marked = mark_boxes(parts, pair, truth, min_iou)
    check = judge_caption("\n".join(part.text for part in parts), truth)
    number = hashlib.sha256(pair.key.encode()).digest()[0]
    question = _CAPTION_QUESTIONS[number % len(_CAPTION_QUESTIONS)]
    question += _WITH_BOXES if marked.boxes else ""
    turns = (Turn("user", question), Turn("assistant", marked.text))
    failures = (*check.failures, *marked.failures)
    missing = {box for one in pair.defects for box in one.boxes} - {*marked.boxes}
    if marked.boxes and missing and not failures:
        failures = (Failure("box_omitted", str(sorted(missing))),)
    return _Draft(turns, marked.boxes, failures)


def _dialogue(rounds: list[Exchange], pair: MinedPair, truth: Truth, min_iou: float) -> _Draft:
    if not rounds:
        return _Draft((), (), (Failure("empty", "dialogue"),))
    turns, boxes, failures = list[Turn](), list[BBox](), list[Failure]()
    label: str | None = None
    for one in rounds:
        marked = mark_boxes(one.answer, pair, truth, min_iou)
        said = "\n".join(part.text for part in one.answer)
        check = judge_exchange(one.question, said, truth, label)
        label = check.label
        failures += [*check.failures, *marked.failures]
        if BOX in plain(one.question):
            failures.append(Failure("box_count", one.question))
        turns += [Turn("user", one.question.strip()), Turn("assistant", marked.text)]
        boxes += marked.boxes
    return _Draft(tuple(turns), tuple(boxes), tuple(failures))


def _choice(choice: Choice, pair: MinedPair, truth: Truth) -> _Draft:
    failures = tuple(choice_failures(choice, truth))
    if failures:
        return _Draft((), (), failures)
    laid_out = lay_out(choice, pair.key)
    turns = (Turn("user", laid_out.question), Turn("assistant", laid_out.letter))
    return _Draft(turns, (), (), laid_out.letter)
