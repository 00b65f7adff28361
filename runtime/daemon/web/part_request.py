"""What a client sends with a part, from a form or from JSON, checked to the last field."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import Field, ValidationError, field_validator
from starlette.datastructures import FormData, UploadFile

from adcopilot_edge.record import Record
from adcopilot_edge.runtime.daemon.door.paths import open_allowed
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.station_file import NAME, AskedTask
from adcopilot_edge.runtime.daemon.web.errors import RequestError, request_error

MAX_QUESTION = 2000
_MAX_FIELDS = 20
_MAX_FIELD_BYTES = 64 << 10
Name = Annotated[str, Field(pattern=NAME)]
_Fields = TypeVar("_Fields", bound=Record)


class PartFields(Record):
    """What may be said of a part.

    station: None where there is but one. product: None is the one that the station has now.
    reference: how the caller knows the part. tasks: in place of the product's; none at all leaves
    the verdict. ask: a question in free words.
    """

    station: Name | None = None
    product: Name | None = None
    reference: str | None = Field(default=None, min_length=1, max_length=200)
    tasks: tuple[AskedTask, ...] | None = Field(default=None, max_length=3)
    ask: str | None = Field(default=None, max_length=MAX_QUESTION)

    @field_validator("tasks")
    @classmethod
    def _is_each_once(cls, tasks: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if tasks is not None and len(set(tasks)) < len(tasks):
            raise ValueError("each task once")
        return tasks

    @field_validator("ask")
    @classmethod
    def _is_a_question(cls, ask: str | None) -> str | None:
        if ask is not None and not ask.strip():
            raise ValueError("ask something or leave it out")
        return ask

    def said(self) -> dict[str, Any]:
        """The arguments of ``StationDaemon.submit`` that a client gives."""
        names = ("station", "product", "reference", "tasks", "ask")
        return {name: getattr(self, name) for name in names}


class PathPart(PartFields):
    """A part whose picture lies on this machine, below one of the folders of ``[http] roots``."""

    path: str = Field(min_length=1, max_length=4096)

    async def read(self, daemon: StationDaemon) -> bytes:
        """The picture's file. Raises what ``open_allowed`` raises."""
        settings = daemon.settings
        return await asyncio.to_thread(
            open_allowed,
            self.path,
            settings.http.roots,
            max_bytes=settings.daemon.max_image_bytes,
        )


async def read_part(request: Request, daemon: StationDaemon) -> tuple[bytes, PartFields]:
    """The picture of a part and what is said of it.

    Raises:
        RequestError: The request is not as it should be.
        EdgeError: What ``open_allowed`` raises for a path.
    """
    if is_json(request):
        part = parse_json(PathPart, await request.body())
        return await part.read(daemon), part
    async with open_form(request, max_files=1) as form:
        images = files_of(form, "image")
        if len(images) != 1:
            raise RequestError("image: send the picture of the part, as a file")
        fields = fields_of(form, PartFields, files="image")
        return await images[0].read(), fields


def is_json(request: Request) -> bool:
    """Whether the body is JSON; else it is a form. Raises RequestError for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/json"):
        return kind == "application/json"
    raise RequestError(
        f"content-type must be multipart/form-data or application/json, got {kind or 'none'}",
        status=415,
    )


def parse_json(model: type[_Fields], body: bytes) -> _Fields:
    """A body of JSON. Raises RequestError."""
    try:
        return model.model_validate_json(body)
    except ValidationError as err:
        raise request_error(err) from err


def open_form(request: Request, *, max_files: int) -> Any:
    """The form of a request, as a context that removes its files."""
    return request.form(
        max_files=max_files, max_fields=_MAX_FIELDS + max_files, max_part_size=_MAX_FIELD_BYTES
    )


def files_of(form: FormData, name: str) -> list[UploadFile]:
    """The files of a field. Raises RequestError when one of them is none, or another field has."""
    for key, value in form.multi_items():
        if isinstance(value, UploadFile) != (key == name):
            wanted = "a file" if key == name else "no file"
            raise RequestError(f"{key}: {wanted} belongs here")
    return [value for value in form.getlist(name) if isinstance(value, UploadFile)]


def fields_of(
    form: FormData, model: type[_Fields], *, files: str, several: tuple[str, ...] = ()
) -> _Fields:
    """The fields of a form beside its files, ``tasks`` also as ``classify,locate``.

    several: fields that may be there more than once, and make a list. Raises RequestError.
    """
    content: dict[str, Any] = {}
    for key in {key for key in form if key != files}:
        values = [str(value) for value in form.getlist(key)]
        if key == "tasks":
            words = (word.strip() for value in values for word in value.split(","))
            content[key] = [word for word in words if word]
        elif key in several:
            content[key] = values
        elif len(values) > 1:
            raise RequestError(f"{key}: it is there {len(values)} times")
        else:
            content[key] = values[0]
    return parse_json(model, json.dumps(content).encode())
