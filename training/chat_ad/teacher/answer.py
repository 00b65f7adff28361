"""The JSON that a teacher answers with: its schema, and reading it strictly.

Knows neither what was asked about nor what is true.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from adcopilot_edge.training.chat_ad.teacher.settings import TeacherTask

ChoiceAbout = Literal["presence", "label", "place", "count", "contrast", "size"]
BOX_SCALE = 1000
"""Boxes of a teacher are whole numbers of 0..1000 over the width and the height of the query."""

_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"\A```(?:json)?\s*(.*?)\s*```\Z", re.DOTALL)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Claim(_Record):
    """What a sentence claims of one kind of defect.

    box: x1, y1, x2, y2 of 0..1000, for a mark in the sentence. place: as the facts name it. count:
    how many there are. contrast: against the template. is_anomaly: whether it is there.
    """

    label: str
    is_anomaly: bool
    box: list[int] | None
    place: str | None
    count: int | None
    contrast: str | None


class Sentence(_Record):
    """A sentence, or a few, and what it claims."""

    text: str
    claims: list[Claim]


class Exchange(_Record):
    """A question of the user and the assistant's answer."""

    question: str
    answer: list[Sentence]


class Choice(_Record):
    """A question with options of which one is right; ``right`` counts from 0."""

    about: ChoiceAbout
    question: str
    options: list[str]
    right: int


Piece = list[Sentence] | list[Exchange] | Choice
_PIECES: dict[TeacherTask, TypeAdapter[Any]] = {
    "caption": TypeAdapter(list[Sentence]),
    "dialogue": TypeAdapter(list[Exchange]),
    "choice": TypeAdapter(Choice),
}


class MalformedError(ValueError):
    """The answer, or a piece of it, has another form than asked for."""


@lru_cache
def answer_schema(tasks: tuple[TeacherTask, ...]) -> dict[str, Any]:
    """The JSON schema of an answer with these tasks, self-contained and strict; read it only."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {"verdict": {"type": "string", "enum": ["normal", "anomaly"]}}
    for task in tasks:
        schema = _PIECES[task].json_schema()
        definitions |= schema.pop("$defs", {})
        if task == "choice":
            definitions["Choice"] = schema
            schema = {"$ref": "#/$defs/Choice"}
        properties[task] = schema
    return _without_titles(
        {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
            "$defs": definitions,
        }
    )


def read_answer(text: str) -> dict[str, Any]:
    """The object of an answer, without thoughts before it and fences around it.

    Raises:
        MalformedError: It is no JSON object.
    """
    bare = _THOUGHTS.sub("", text).strip()
    if fenced := _FENCE.match(bare):
        bare = fenced[1]
    try:
        values = json.loads(bare)
    except (ValueError, RecursionError) as err:
        raise MalformedError(f"no JSON: {err}") from err
    if not isinstance(values, dict):
        raise MalformedError(f"a JSON object was asked for, not {type(values).__name__}")
    return values


def read_piece(values: dict[str, Any], task: TeacherTask) -> Any:
    """The piece of a task, as ``list[Sentence]``, ``list[Exchange]`` or ``Choice``.

    Raises:
        MalformedError: It is missing, or has another form.
    """
    if task not in values:
        raise MalformedError(f"{task} is missing")
    try:
        return _PIECES[task].validate_python(values[task])
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MalformedError(f"{task}.{where}: {first['msg']}") from err


def _without_titles(schema: Any) -> Any:
    """The schema without what is only for people; servers count it as tokens."""
    if isinstance(schema, list):
        return [_without_titles(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _without_titles(one) for name, one in value.items()}
        if key in ("properties", "$defs")
        else _without_titles(value)
        for key, value in schema.items()
        if key not in ("title", "description", "default")
    }
