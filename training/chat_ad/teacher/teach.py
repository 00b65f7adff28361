"""The teacher over many pairs: ask, judge, keep what holds, and stop cleanly. Sends nothing itself.

::

    settings = TeacherSettings(
        base_url="http://127.0.0.1:8000/v1", model="teacher", folder=Path("teacher")
    )
    report = TeachReport()
    for sample in teach_all(pairs, settings, report=report):
        ...  # in the order of the pairs, the same in every run with the same answers

    async for sample in teach(pairs, settings, report=report):
        ...  # the same inside an event loop

Both are generators: what was given before an error is good and may be kept. A second run over the
same pairs takes the answers from ``settings.folder`` and asks nothing, so a run that was killed or
stopped goes on where it was. ``estimate.py`` tells what a run would send without sending it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from operator import length_hint

from adcopilot_edge.errors import BudgetError, TeacherQualityError
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.sample import ChatSample
from adcopilot_edge.training.chat_ad.teacher.ask import Answered, Asker
from adcopilot_edge.training.chat_ad.teacher.cache import AnswerCache
from adcopilot_edge.training.chat_ad.teacher.client import TeacherClient
from adcopilot_edge.training.chat_ad.teacher.pieces import Outcome, judge_answer
from adcopilot_edge.training.chat_ad.teacher.report import TeachReport
from adcopilot_edge.training.chat_ad.teacher.review import ReviewFile
from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings
from adcopilot_edge.training.chat_ad.teacher.spending import Spending
from adcopilot_edge.types import OnStep

_AHEAD = 4  # pairs in work for each request at a time, so that a slow one holds up no other

_Window = deque[asyncio.Task[Answered | None]]


async def teach(
    pairs: Iterable[MinedPair],
    settings: TeacherSettings,
    *,
    report: TeachReport | None = None,
    on_step: OnStep | None = None,
) -> AsyncGenerator[ChatSample, None]:
    """Give the samples that the teacher writes and that hold, in the order of ``pairs``.

    pairs: read as they are needed. report: filled on the way. on_step: told after each pair.

    Raises:
        ConfigError: The key's variable is not set, or the folder can't be read or written.
        MissingExtraError: The client's package is not installed.
        BudgetError: The budget is spent; raising it and starting again goes on behind it.
        TeacherUnavailableError: The endpoint refuses, or fails too often in a row.
        TeacherQualityError: Too much of what the teacher writes is wrong.
        InputError: A picture can't be read.
    """
    report = TeachReport() if report is None else report
    total = length_hint(pairs, 0)
    with AnswerCache(settings.folder) as cache, ReviewFile(settings.folder) as review:
        spending = Spending(settings.budget, settings.folder)
        async with TeacherClient(settings) as client:
            asker = Asker(settings, client, cache, spending, report)
            number = 0
            async for answered in _answers(pairs, asker, settings):
                for sample in _judged(answered, settings, review, report):
                    yield sample
                number += 1
                _take_over(spending, report)
                if on_step is not None:
                    on_step("teacher", number, max(total, number))
                _check_quality(report, settings, review)


def teach_all(
    pairs: Iterable[MinedPair],
    settings: TeacherSettings,
    *,
    report: TeachReport | None = None,
    on_step: OnStep | None = None,
) -> Iterator[ChatSample]:
    """Give the samples of ``teach`` without an event loop of the caller's; raises the same.

    Requests go on only while a sample is waited for.
    """
    loop = asyncio.new_event_loop()
    samples = teach(pairs, settings, report=report, on_step=on_step)
    try:
        while (sample := loop.run_until_complete(anext(samples, None))) is not None:
            yield sample
    finally:
        loop.run_until_complete(samples.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _answers(
    pairs: Iterable[MinedPair], asker: Asker, settings: TeacherSettings
) -> AsyncIterator[Answered | None]:
    """The answers in the order of the pairs; None for a pair whose request failed for good.

    When the budget is spent no further pair is begun, what is on its way is waited for, and the
    error comes last.
    """
    window: _Window = deque()
    rest = iter(pairs)
    spent: BudgetError | None = None
    try:
        while True:
            while spent is None and len(window) < _AHEAD * settings.concurrency:
                pair = next(rest, None)
                if pair is None:
                    break
                window.append(asyncio.create_task(asker.answer(pair)))
            if not window:
                break
            try:
                answered = await window.popleft()
            except BudgetError as err:
                spent = spent or err
                continue
            yield answered
        if spent is not None:
            raise spent
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)


def _judged(
    answered: Answered | None, settings: TeacherSettings, review: ReviewFile, report: TeachReport
) -> Iterator[ChatSample]:
    """The samples of an answer; what fails goes to the review file."""
    if answered is None:
        return
    report.pairs += 1
    report.cached += answered.is_cached
    for outcome in judge_answer(answered.answer, answered.pair, settings):
        if outcome.sample is not None:
            report.samples[outcome.task] += 1
            yield outcome.sample
            continue
        report.num_failed += 1
        report.failures.update({failure.code for failure in outcome.failures})
        review.add(_review_line(answered, outcome, settings))


def _review_line(
    answered: Answered, outcome: Outcome, settings: TeacherSettings
) -> dict[str, object]:
    pair = answered.pair
    return {
        "pair": pair.key,
        "task": outcome.task,
        "failures": [{"code": one.code, "words": one.words} for one in outcome.failures],
        "template": str(pair.template),
        "query": str(pair.query),
        "model": settings.model,
        "asked": answered.asked,
        "finish": answered.answer.finish,
        "answered": answered.answer.text,
    }


def _take_over(spending: Spending, report: TeachReport) -> None:
    report.requests = spending.requests
    report.tokens_in, report.tokens_out = spending.tokens_in, spending.tokens_out
    report.cost = spending.cost


def _check_quality(report: TeachReport, settings: TeacherSettings, review: ReviewFile) -> None:
    judged = report.num_judged
    if judged < settings.failures_after or not report.num_failed:
        return
    share = report.num_failed / judged
    if share > settings.max_failure_share:
        common = ", ".join(f"{code} {count}" for code, count in report.failures.most_common(3))
        raise TeacherQualityError(
            f"{report.num_failed} of {judged} pieces by {settings.model} failed ({share:.0%}, "
            f"allowed are {settings.max_failure_share:.0%}), most for: {common}. Look into "
            f"{review.path}; take another teacher, or raise max_failure_share"
        )
