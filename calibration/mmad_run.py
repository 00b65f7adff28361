"""Runs MMAD over a model: asks every question that has no answer yet, then marks the answers.

Each question is asked alone, as MMAD does it. Its answer is read twice: the letter with the largest
logit among the options, and the letter that the written words mean.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from adcopilot_edge.calibration.answer_log import Answer, AnswerLog
from adcopilot_edge.calibration.mmad import Mmad, MmadImage
from adcopilot_edge.calibration.mmad_questions import Question, parse_answer
from adcopilot_edge.calibration.mmad_scores import Mark, accuracy_table, report_counts
from adcopilot_edge.calibration.questioner import Reply
from adcopilot_edge.errors import DatasetError
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.types import ImageArray, OnStep


class Respondent(Protocol):
    """Who is asked: a bundle, or the checkpoint itself."""

    def show(self, query: ImageArray, template: ImageArray | None) -> None:
        """As ``Questioner.show``."""

    def ask(self, question: str, letters: Collection[str], *, max_new_tokens: int | None) -> Reply:
        """As ``Questioner.ask``."""


def ask_mmad(
    respondent: Respondent,
    mmad: Mmad,
    log: AnswerLog,
    *,
    max_new_tokens: int | None,
    on_step: OnStep = lambda step, done, total: None,
) -> None:
    """Ask what ``log`` has no answer to, and put the answers into it.

    Args:
        respondent: The model under the run's prompt.
        mmad: The images and questions.
        log: Open for writing.
        max_new_tokens: Limit of the words of an answer; None asks for letters alone.
        on_step: Told after each image.

    Raises:
        InputError: An image can't be decoded, or a prompt is too long for the bundle.
        SessionError: A graph fails.
    """
    for done, image in enumerate(mmad.images):
        on_step("images", done, len(mmad.images))
        keyed = zip(_keys(image), image.questions, strict=True)
        open_questions = [(key, question) for key, question in keyed if key not in log.answers]
        if not open_questions:
            continue
        template = None if image.template is None else open_image(mmad.root / image.template)
        respondent.show(open_image(mmad.root / image.name), template)
        for key, question in open_questions:
            reply = respondent.ask(
                question.text, tuple(question.options), max_new_tokens=max_new_tokens
            )
            log.add(key, _answer(question, reply))
    on_step("images", len(mmad.images), len(mmad.images))


def _keys(image: MmadImage) -> list[str]:
    """The names of an image's questions in the log."""
    return [f"{image.name}|{image.template or ''}|{n}" for n in range(len(image.questions))]


def _answer(question: Question, reply: Reply) -> Answer:
    """What is kept of a reply: enough to mark it again without the model."""
    kept: Answer = {"correct": question.answer, "task": question.task}
    if reply.letters:
        # The first of equals, as the greedy choice among all tokens would have it.
        kept["letter"] = max(reply.letters, key=lambda letter: reply.letters[letter])
        kept["logits"] = {letter: round(value, 4) for letter, value in reply.letters.items()}
    if reply.words is not None:
        kept["words"] = reply.words
    return kept


@dataclass(frozen=True, slots=True)
class _Answered:
    """A question with the answer that was kept of it."""

    image: MmadImage
    question: Question
    answer: Answer

    def mark(self, letter: str) -> Mark:
        return Mark(
            dataset=self.image.dataset,
            task=self.question.task,
            is_normal=self.image.is_normal,
            is_correct=letter == self.question.answer,
        )


def report_mmad(mmad: Mmad, log: AnswerLog) -> dict[str, Any]:
    """The scores of all answers as a JSON object, by letter and by words, and what is missing.

    Words that can't be read count as wrong. Questions without options have no letter and are in
    the figures of the words alone.

    Raises:
        DatasetError: There is nothing to mark.
    """
    answered = [
        _Answered(image, question, log.answers[key])
        for image in mmad.images
        for key, question in zip(_keys(image), image.questions, strict=True)
    ]
    report: dict[str, Any] = {
        "images": len(mmad.images),
        "questions": len(answered),
        "missing_files": list(mmad.missing),
        "images_left_out": len(mmad.left_out),
        "known_bad_images": len(mmad.known_bad),
        "malformed_questions": list(mmad.malformed),
    }
    by_letter = [item.mark(item.answer["letter"]) for item in answered if "letter" in item.answer]
    if by_letter:
        report["letters"] = _scores(by_letter)
    worded = [item for item in answered if "words" in item.answer]
    if not by_letter and not worded:
        raise DatasetError(
            f"{mmad.root} has no question that can be marked: without options are {len(answered)}, "
            f"and must be asked in words (--text); malformed are {len(mmad.malformed)}"
        )
    if worded:
        read = [parse_answer(item.answer["words"], item.question) for item in worded]
        marks = [item.mark(letter) for item, (letter, _) in zip(worded, read, strict=True)]
        report["words"] = {
            **_scores(marks),
            "closest_option": sum(how == "closest option" for _, how in read),
            "unreadable": sum(how == "unreadable" for _, how in read),
        }
    return report


def _scores(marks: Sequence[Mark]) -> dict[str, Any]:
    table = accuracy_table(marks)
    return {
        "average": round(table.average, 2),
        "table": table.to_json(),
        "csv": table.to_csv(),
        "counts": report_counts(marks),
    }
