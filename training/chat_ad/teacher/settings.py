"""What a user says about the teacher: where it is, what to ask, what it may cost, when to stop.

Knows no pair and sends nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from adcopilot_edge.errors import ConfigError

TeacherTask = Literal["caption", "dialogue", "choice"]
TEACHER_TASKS: tuple[TeacherTask, ...] = ("caption", "dialogue", "choice")
AnswerForm = Literal["auto", "schema", "plain"]
"""How JSON is asked for. schema: ``response_format`` with the schema, which a server enforces.
plain: by the prompt alone. auto: schema until the server refuses it, then plain."""

_NO_KEY = "none"  # the client insists on one; a local server does not look at it


class Budget(BaseModel):
    """What all runs with a folder may spend; None is no limit. Answers from the cache cost nothing.

    max_requests: questions asked; repeats of one question after a failure do not count.
    max_tokens: in and out together, by the ``usage`` of the answers; a try without one, such as one
    that timed out, counts as the most that it may take. max_cost: in the currency of
    the prices, which are for a million tokens in and out; there are no built-in prices.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_requests: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, gt=0)
    price_in: float | None = Field(default=None, ge=0)
    price_out: float | None = Field(default=None, ge=0)

    def cost(self, tokens_in: int, tokens_out: int) -> float | None:
        """What the tokens cost; None without prices."""
        if self.price_in is None or self.price_out is None:
            return None
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


class TeacherSettings(BaseModel):
    """Everything about a run of the teacher but the pairs.

    base_url: up to ``/v1``. api_key_env: the name of the environment variable with the key; None
    where the server asks for none. folder: where ``cache.sqlite``, ``spent.json`` and
    ``review.jsonl`` lie. tasks: what is asked for, in one request a pair. image_side: the longer
    side of the pictures sent, in pixels; smaller ones are not enlarged. jpeg_quality: 1..95.
    temperature, top_p, seed, max_answer_tokens: as of the endpoint; each is part of what the cache
    knows an answer by, so another seed asks anew. timeout_s: of one try. max_retries: of a request,
    with growing pauses. min_iou: the least BBox-Mask IoU of a box with the true one.
    max_failure_share: of all that was written; with more, ``failures_after`` pieces or later, the
    run stops. max_unanswered: requests in a row that may fail for good. known_words: what texts may
    name beside the words that are known, such as the pieces of a product; an unknown word fails.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    base_url: str
    model: str = Field(min_length=1)
    folder: Path
    api_key_env: str | None = None
    tasks: tuple[TeacherTask, ...] = Field(default=TEACHER_TASKS, min_length=1)
    answer_form: AnswerForm = "auto"
    image_side: int = Field(default=1024, ge=28, le=8192)
    jpeg_quality: int = Field(default=92, ge=1, le=95)
    temperature: float = Field(default=0.2, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = 0
    max_answer_tokens: int = Field(default=2048, ge=16)
    concurrency: int = Field(default=8, ge=1, le=1024)
    timeout_s: float = Field(default=120.0, gt=0)
    max_retries: int = Field(default=4, ge=0, le=20)
    min_iou: float = Field(default=0.5, gt=0, le=1)
    max_failure_share: float = Field(default=0.5, ge=0, le=1)
    failures_after: int = Field(default=100, ge=1)
    max_unanswered: int = Field(default=5, ge=1)
    known_words: tuple[str, ...] = ()
    budget: Budget = Budget()

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://, as in http://127.0.0.1:8000/v1")
        return url.rstrip("/")

    @field_validator("tasks")
    @classmethod
    def _check_tasks(cls, tasks: tuple[TeacherTask, ...]) -> tuple[TeacherTask, ...]:
        if len(set(tasks)) < len(tasks):
            raise ValueError("each task once")
        return tasks

    @field_validator("budget")
    @classmethod
    def _check_budget(cls, budget: Budget) -> Budget:
        if budget.max_cost is not None and budget.cost(0, 0) is None:
            raise ValueError("max_cost needs price_in and price_out, for a million tokens each")
        return budget

    def api_key(self) -> SecretStr:
        """The key of the endpoint, which no log and no error shows.

        Raises:
            ConfigError: The variable is not set.
        """
        if self.api_key_env is None:
            return SecretStr(_NO_KEY)
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"the environment variable {self.api_key_env} is not set; set it to the key of "
                f"{self.base_url}, or leave api_key_env out for a server without keys"
            )
        return SecretStr(key)


def teacher_settings(values: dict[str, object]) -> TeacherSettings:
    """The settings of plain values, such as a table of TOML; ``folder`` may be a string.

    Raises:
        ConfigError: One is unknown, missing or out of range; it names each.
    """
    try:
        return TeacherSettings.model_validate_json(json.dumps(values, default=str))
    except ValidationError as err:
        wrong = [
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in err.errors()
        ]
        raise ConfigError(f"the teacher's settings are wrong: {'; '.join(wrong)}") from err
