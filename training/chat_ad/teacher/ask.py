"""One pair's answer: from the cache, or from the endpoint within the budget. Judges nothing."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass

from adcopilot_edge.errors import TeacherUnavailableError
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.teacher.answer import answer_schema
from adcopilot_edge.training.chat_ad.teacher.cache import AnswerCache, StoredAnswer, answer_key
from adcopilot_edge.training.chat_ad.teacher.client import TeacherClient, Tries, UnansweredError
from adcopilot_edge.training.chat_ad.teacher.pictures import content_hash, picture_url
from adcopilot_edge.training.chat_ad.teacher.prompts import SYSTEM, question, schema_hint
from adcopilot_edge.training.chat_ad.teacher.report import TeachReport
from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings
from adcopilot_edge.training.chat_ad.teacher.spending import Spending, Usage

CHARACTERS_A_TOKEN = 3
PATCH_SIDE = 28
"""For what a request may take at most before one was answered: English has about four characters a
token, and Qwen2.5-VL makes a token of 28 x 28 pixels."""

_MARGIN = 1.25  # pictures of one set differ in size, and so in tokens

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """A pair with what was asked and answered."""

    pair: MinedPair
    asked: str
    answer: StoredAnswer
    is_cached: bool


class Asker:
    """Asks about one pair after the other, or about several at once."""

    def __init__(
        self,
        settings: TeacherSettings,
        client: TeacherClient,
        cache: AnswerCache,
        spending: Spending,
        report: TeachReport,
    ) -> None:
        self._settings = settings
        self._client = client
        self._cache = cache
        self._spending = spending
        self._report = report
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._most_in = 0
        self._is_first = True
        self._first_is_done = asyncio.Event()
        self._unanswered_in_a_row = 0

    async def answer(self, pair: MinedPair) -> Answered | None:
        """The answer about ``pair``, or None where its request failed for good.

        Raises:
            BudgetError: It does not fit the budget.
            TeacherUnavailableError: The endpoint refuses, or too many requests in a row failed.
            InputError: A picture can't be read.
        """
        async with self._slots:
            key, asked = await asyncio.to_thread(request_key, pair, self._settings)
            if (stored := self._cache.find(key)) is not None:
                return Answered(pair, asked, stored, is_cached=True)
            await self._wait_for_the_first()
            try:
                answer = await self._ask(key, asked, pair)
            finally:
                self._first_is_done.set()
            return None if answer is None else Answered(pair, asked, answer, is_cached=False)

    async def _ask(self, key: str, asked: str, pair: MinedPair) -> StoredAnswer | None:
        pictures = await asyncio.to_thread(pictures_of, pair, self._settings)
        most, tries = self._most(asked), Tries()
        async with self._spending.reserve(most) as usage:
            try:
                reply = await self._client.ask(asked, pictures, tries)
            except UnansweredError as err:
                self._count_unanswered(pair, err)
                return None
            finally:
                usage.tokens_in = tries.unpaid * most.tokens_in
                usage.tokens_out = tries.unpaid * most.tokens_out
            answer = reply.answer
            self._cache.keep(key, answer)
            self._unanswered_in_a_row = 0
            self._report.retries += reply.retries
            if reply.has_usage:
                usage.tokens_in += answer.tokens_in - most.tokens_in
                usage.tokens_out += answer.tokens_out - most.tokens_out
                self._most_in = max(self._most_in, answer.tokens_in)
        return answer

    async def _wait_for_the_first(self) -> None:
        """Let the first request go alone where its tokens are to tell what the others may take."""
        budget = self._settings.budget
        if budget.max_tokens is None and budget.max_cost is None:
            return
        if self._is_first:
            self._is_first = False
        else:
            await self._first_is_done.wait()

    def _most(self, asked: str) -> Usage:
        """The most that a request may take: by the largest before, or else by a rule."""
        return Usage(
            math.ceil(self._most_in * _MARGIN) or most_tokens_in(asked, self._settings),
            self._settings.max_answer_tokens,
        )

    def _count_unanswered(self, pair: MinedPair, err: UnansweredError) -> None:
        self._report.unanswered += 1
        self._unanswered_in_a_row += 1
        _logger.warning("the teacher did not answer about %s: %s", pair.key, err)
        if self._unanswered_in_a_row >= self._settings.max_unanswered:
            raise TeacherUnavailableError(
                f"{self._unanswered_in_a_row} requests in a row to {self._settings.base_url} "
                f"failed, the last with: {err}. All answers are kept: see to the server and start "
                "again, which goes on behind them"
            ) from err


def request_key(pair: MinedPair, settings: TeacherSettings) -> tuple[str, str]:
    """What an answer about ``pair`` is known by, and the text that is asked.

    It depends on the model, every word of the request, the bytes of both pictures and how they are
    sent, and the sampling; not on where the endpoint is.
    """
    asked = question(pair, settings.tasks)
    key = answer_key(
        {
            "model": settings.model,
            "rules": SYSTEM,
            "schema": answer_schema(settings.tasks),
            "asked": asked,
            "pictures": [content_hash(pair.template), content_hash(pair.query)],
            "sent": [settings.image_side, settings.jpeg_quality],
            "sampling": [
                settings.temperature,
                settings.top_p,
                settings.seed,
                settings.max_answer_tokens,
            ],
        }
    )
    return key, asked


def pictures_of(pair: MinedPair, settings: TeacherSettings) -> list[str]:
    """Template and query as they are sent."""
    return [
        picture_url(path, side=settings.image_side, quality=settings.jpeg_quality)
        for path in (pair.template, pair.query)
    ]


def most_tokens_in(asked: str, settings: TeacherSettings) -> int:
    """The most tokens that a request may take in, by a rule of thumb on the safe side."""
    patches = math.ceil(settings.image_side / PATCH_SIDE)
    return most_text_tokens(asked, settings) + 2 * patches**2


def most_text_tokens(asked: str, settings: TeacherSettings) -> int:
    """The most tokens of a request's words; a schema counts, sent as words or not."""
    characters = len(SYSTEM) + len(schema_hint(settings.tasks)) + len(asked)
    return math.ceil(characters / CHARACTERS_A_TOKEN)
