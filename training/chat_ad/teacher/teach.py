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
stopped goes on where it was. ``estimate`` tells what a run would send without sending it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator

from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.sample import ChatSample
from adcopilot_edge.training.chat_ad.teacher.report import TeachReport
from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings
from adcopilot_edge.types import OnStep


async def teach(
    pairs: Iterable[MinedPair],
    settings: TeacherSettings,
    *,
    report: TeachReport | None = None,
    on_step: OnStep | None = None,
) -> AsyncIterator[ChatSample]:
    """Give the samples that the teacher writes and that hold, in the order of ``pairs``.

    pairs: read as they are needed. report: filled on the way. on_step: told after each pair.

    Raises:
        ConfigError: The key's variable is not set, or the folder can't be written.
        MissingExtraError: The client's package is not installed.
        BudgetError: The budget is spent; raising it and starting again goes on behind it.
        TeacherUnavailableError: The endpoint refuses, or fails too often in a row.
        TeacherQualityError: Too much of what the teacher writes is wrong.
        InputError: A picture can't be read.
    """
    raise NotImplementedError
    yield  # makes it a generator


def teach_all(
    pairs: Iterable[MinedPair],
    settings: TeacherSettings,
    *,
    report: TeachReport | None = None,
    on_step: OnStep | None = None,
) -> Iterator[ChatSample]:
    """Give the samples of ``teach`` without an event loop of the caller's; raises the same."""
    loop = asyncio.new_event_loop()
    samples = teach(pairs, settings, report=report, on_step=on_step)
    try:
        while True:
            try:
                yield loop.run_until_complete(anext(samples))
            except StopAsyncIteration:
                return
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
