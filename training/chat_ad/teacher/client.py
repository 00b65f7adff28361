"""The endpoint: one request with two pictures, its repeats, and what its refusals mean.

Anything that speaks OpenAI's chat completions will do. Knows no pair, no cache and no budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from adcopilot_edge.errors import MissingExtraError, TeacherUnavailableError
from adcopilot_edge.training.chat_ad.teacher.answer import answer_schema
from adcopilot_edge.training.chat_ad.teacher.cache import StoredAnswer
from adcopilot_edge.training.chat_ad.teacher.prompts import SYSTEM, schema_hint
from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings

if TYPE_CHECKING:
    import httpx2
    import openai

_REFUSED = (401, 402, 403, 404)
_WRONG = (400, 404, 415, 422, 501)  # what servers answer to a response_format they don't know
_NO_MONEY = "insufficient_quota"  # comes as 429, but waiting does not help
_GAVE_UP = (408, 504, 524)  # of a server before the model, which may have worked for it
_UNCONNECTED = ("ConnectError", "ConnectTimeout", "PoolTimeout")
_LONGEST_WORDS = 300


class UnansweredError(Exception):
    """A request failed for good; others may still be answered."""


@dataclass(slots=True)
class Tries:
    """The tries of one request. unpaid: those that were sent and not refused.

    A server may bill them all, whether it answers, tells their usage, or is waited for no longer.
    """

    unpaid: int = 0


_tries: ContextVar[Tries] = ContextVar("_tries")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, how often it had to be asked for again, and whether the server told its usage."""

    answer: StoredAnswer
    retries: int
    has_usage: bool


class TeacherClient:
    """The connections to an endpoint; use it as an asynchronous context."""

    def __init__(self, settings: TeacherSettings) -> None:
        try:
            import openai
        except ImportError as err:
            raise MissingExtraError(
                feature="the teacher", extra="curate", package="openai"
            ) from err
        self._openai = openai
        self._settings = settings
        self._key = settings.api_key()
        self._client: openai.AsyncOpenAI | None = None
        self._has_schema = settings.answer_form != "plain"
        self._length_name = "max_tokens"

    async def __aenter__(self) -> TeacherClient:
        self._client = self._openai.AsyncOpenAI(
            base_url=self._settings.base_url,
            api_key=self._key.get_secret_value(),
            timeout=self._settings.timeout_s,
            max_retries=self._settings.max_retries,
            http_client=self._openai.DefaultAsyncHttpxClient(
                event_hooks={"request": [_count_sent], "response": [_count_refused]}
            ),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._client is not None
        await self._client.close()

    async def ask(self, question: str, pictures: Sequence[str], tries: Tries) -> Reply:
        """Ask about two pictures, the template and the query, as ``data:`` addresses.

        tries: counted on the way, and right however this ends; one request at a time in a task.

        Raises:
            UnansweredError: It failed for good: after its repeats, or because of what it holds.
            TeacherUnavailableError: The endpoint refuses whatever is asked.
        """
        _tries.set(tries)
        while True:
            has_schema, length_name = self._has_schema, self._length_name
            try:
                return await self._ask(question, pictures, has_schema, length_name)
            except self._openai.APIStatusError as err:
                if not self._adapt(err, has_schema, length_name):
                    raise self._meaning(err) from err
            except self._openai.OpenAIError as err:
                if type(err.__cause__).__name__ in _UNCONNECTED:
                    tries.unpaid = 0
                raise UnansweredError(self._words(err)) from err

    async def _ask(
        self, question: str, pictures: Sequence[str], has_schema: bool, length_name: str
    ) -> Reply:
        assert self._client is not None
        settings = self._settings
        asked: dict[str, Any] = {
            "model": settings.model,
            "messages": _messages(question, pictures, settings, has_schema=has_schema),
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            length_name: settings.max_answer_tokens,
        }
        if settings.seed is not None:
            asked["seed"] = settings.seed
        if has_schema:
            schema = answer_schema(settings.tasks)
            asked["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            }
        raw = await self._client.chat.completions.with_raw_response.create(**asked)
        try:
            completion = raw.parse()
            choice = completion.choices[0]
            text, finish = choice.message.content or "", choice.finish_reason or ""
            usage = completion.usage
        except (AttributeError, IndexError, TypeError, ValueError) as err:
            raise UnansweredError(f"the answer is no chat completion: {self._words(err)}") from err
        return Reply(
            answer=StoredAnswer(
                text=text,
                finish=finish,
                tokens_in=usage.prompt_tokens if usage else 0,
                tokens_out=usage.completion_tokens if usage else 0,
            ),
            retries=raw.retries_taken,
            has_usage=usage is not None,
        )

    def _adapt(self, err: openai.APIStatusError, has_schema: bool, length_name: str) -> bool:
        """Whether the request can be put in another way that the server may understand."""
        words = self._words(err)
        if err.status_code not in _WRONG:
            return False
        if length_name == "max_tokens" and "max_completion_tokens" in words:
            self._length_name = "max_completion_tokens"
            return True
        is_about_form = any(one in words for one in ("response_format", "json_schema", "grammar"))
        if has_schema and is_about_form and self._settings.answer_form == "auto":
            self._has_schema = False
            return True
        return False

    def _meaning(self, err: openai.APIStatusError) -> Exception:
        words = self._words(err)
        if err.status_code not in _REFUSED and err.code != _NO_MONEY:
            return UnansweredError(words)
        settings = self._settings
        what = f"check base_url {settings.base_url} and the model {settings.model!r}"
        if err.status_code != 404:
            name = settings.api_key_env
            what = f"check the key in {name}" if name else "name the key's variable: api_key_env"
        return TeacherUnavailableError(f"the teacher refuses: {words}; {what}")

    def _words(self, err: Exception) -> str:
        """An error in words, without the key, which some servers repeat."""
        words = f"{type(err).__name__}: {err}"
        key = self._key.get_secret_value()
        return (words.replace(key, "***") if len(key) > 4 else words)[:_LONGEST_WORDS]


async def _count_sent(_: httpx2.Request) -> None:
    _tries.get().unpaid += 1


async def _count_refused(response: httpx2.Response) -> None:
    if not response.is_success and response.status_code not in _GAVE_UP:
        _tries.get().unpaid -= 1


def _messages(
    question: str, pictures: Sequence[str], settings: TeacherSettings, *, has_schema: bool
) -> list[dict[str, Any]]:
    """System and user; template first, then query, then the facts."""
    template, query = pictures
    rules = SYSTEM if has_schema else SYSTEM + schema_hint(settings.tasks)
    return [
        {"role": "system", "content": rules},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Template:"},
                {"type": "image_url", "image_url": {"url": template}},
                {"type": "text", "text": "Query sample:"},
                {"type": "image_url", "image_url": {"url": query}},
                {"type": "text", "text": question},
            ],
        },
    ]
