"""The questions about one pair, one behind the other from the same state of the decoder.

The test image was read before; every question starts behind it and leaves no trace.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from adcopilot_edge.runtime.box_guide import BoxGuide
from adcopilot_edge.runtime.dialogue import Answer
from adcopilot_edge.runtime.drain import drain
from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.runtime.pieces import TextPieces
from adcopilot_edge.runtime.request import Request
from adcopilot_edge.runtime.stream import AnswerEvent, TextEvent
from adcopilot_edge.runtime.takt import AnswerTime, Takt
from adcopilot_edge.runtime.timing import StageClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers by name of their question, and the notes about them.

    Notes: ``takt_dropped:NAME`` (not asked), ``takt_cut:NAME`` (cut at the deadline),
    ``constrained:locate`` (the grammar overruled the model), ``unconstrained:locate`` (the
    bundle's tokenizer does not allow the grammar).
    """

    by_name: dict[str, Answer]
    notes: tuple[str, ...]


def asking(
    engine: Engine, request: Request, *, takt: Takt, clock: StageClock
) -> Generator[TextEvent | AnswerEvent, None, Answers]:
    """Ask all questions about the test image that the engine's dialogue was shown.

    Once a question does not fit the takt, those that are dropped before it are not asked either.

    Raises:
        InputError: A question is too long for the bundle.
        SessionError: The decoder fails.
    """
    answers: dict[str, Answer] = {}
    notes: list[str] = []
    names = takt.order(request.questions)
    for index, name in enumerate(names):
        if not takt.fits(name):
            notes += takt.drop(reversed(names[index:]))
            break
        is_boxes = name == "locate" and request.is_constrained
        guide = engine.dialogue.box_guide() if is_boxes else None
        with takt.answering(name) as time:
            answers[name] = yield from _answering(
                engine, request, name, guide=guide, time=time, clock=clock
            )
        if time.was_cut:
            notes.append(f"takt_cut:{name}")
        if is_boxes and guide is None:
            notes.append(f"unconstrained:{name}")
        if guide is not None and guide.has_overruled:
            notes.append(f"constrained:{name}")
        answer = answers[name]
        yield AnswerEvent(name=name, text=answer.text, is_complete=answer.is_complete)
    by_name = {name: answers[name] for name in request.questions if name in answers}
    return Answers(by_name=by_name, notes=tuple(notes))


def _answering(
    engine: Engine,
    request: Request,
    name: str,
    *,
    guide: BoxGuide | None,
    time: AnswerTime,
    clock: StageClock,
) -> Generator[TextEvent, None, Answer]:
    """Ask one question, and tell its words if they are wanted."""
    steps = engine.dialogue.answering(
        request.questions[name],
        max_new_tokens=request.max_new_tokens,
        clock=clock,
        guide=guide,
        may_go_on=time.may_go_on,
    )
    if not request.has_pieces:
        return drain(steps)
    pieces = TextPieces(engine.tokenizer)
    with closing(steps):
        while True:
            try:
                piece = pieces.add(next(steps))
            except StopIteration as stop:
                answer: Answer = stop.value
                break
            if piece:
                yield TextEvent(name=name, piece=piece)
    if piece := pieces.rest():
        yield TextEvent(name=name, piece=piece)
    return answer
