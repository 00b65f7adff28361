"""``/v1/inspect/batch``: several parts in one request, a record of its own for each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import Field

from adcopilot_edge.errors import EdgeError
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.ticket import Ticket
from adcopilot_edge.runtime.daemon.web.access import Daemon
from adcopilot_edge.runtime.daemon.web.errors import RequestError, status_of, told
from adcopilot_edge.runtime.daemon.web.following import final_record
from adcopilot_edge.runtime.daemon.web.inspect import status_of_record
from adcopilot_edge.runtime.daemon.web.part_request import (
    PartFields,
    PathPart,
    fields_of,
    files_of,
    is_json,
    open_form,
    parse_json,
)

router = APIRouter(prefix="/v1", tags=["inspect"])

MAX_PARTS = 256


class BatchFields(PartFields):
    """What is said of all parts of a form. references: one for each image, in their order."""

    references: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()


class Batch(Record):
    """A batch of parts whose pictures lie on this machine."""

    parts: tuple[PathPart, ...] = Field(min_length=1, max_length=MAX_PARTS)


_FORM = BatchFields.model_json_schema()
_FORM["properties"]["images"] = {
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "minItems": 1,
    "maxItems": MAX_PARTS,
}
_FORM["required"] = ["images"]
_JSON = Batch.model_json_schema(ref_template="#/components/schemas/{model}")
_JSON["properties"]["parts"]["items"] = PathPart.model_json_schema()
_JSON.pop("$defs")
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "application/json": {"schema": _JSON},
        },
    }
}


@dataclass(frozen=True, slots=True)
class _Sent:
    """A part of a batch: its ticket, or why it was not accepted."""

    index: int
    ticket: Ticket | None
    error: Exception | None = None


_RESULTS: dict[str, Any] = {"type": ["array", "object"]}
# Where no part was accepted the results come with the status of one of their errors.
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/x-ndjson": {}}},
    **{
        status: {
            "description": "What each part was refused for, or what is wrong with the request",
            "content": {"application/json": {"schema": _RESULTS}, "application/x-ndjson": {}},
        }
        for status in (403, 404, 422, 429, 503)
    },
}


@router.post(
    "/inspect/batch",
    openapi_extra=_BODY,
    responses=_ANSWERS,
)
async def batch(
    request: Request,
    daemon: Daemon,
    form: Annotated[
        Literal["array", "lines"],
        Query(alias="as", description="One array, or a line of JSON for each part as it ends."),
    ] = "array",
) -> Response:
    """Inspect several parts: files in the form's field ``images``, or ``parts`` with paths.

    Every part has a result with its ``index`` and ``status``, and a ``record``, or an ``error``
    where it was not accepted: those above the queue's size are told 429. The status is 200 unless
    no part was accepted.
    """
    sent = await (_send_paths if is_json(request) else _send_files)(request, daemon)
    status = 200
    if all(item.ticket is None for item in sent):
        status = max(status_of(item.error) for item in sent if item.error is not None)
    if form == "lines":
        return StreamingResponse(
            _lines(sent), media_type="application/x-ndjson", status_code=status
        )
    return JSONResponse(await asyncio.gather(*map(_result, sent)), status_code=status)


async def _send_paths(request: Request, daemon: StationDaemon) -> list[_Sent]:
    parts = parse_json(Batch, await request.body()).parts
    return [await _send_path(daemon, index, part) for index, part in enumerate(parts)]


async def _send_path(daemon: StationDaemon, index: int, part: PathPart) -> _Sent:
    try:
        image = await part.read(daemon)
    except EdgeError as err:
        return _Sent(index, None, err)
    return _send(daemon, index, image, part.said())


async def _send_files(request: Request, daemon: StationDaemon) -> list[_Sent]:
    async with open_form(request, max_files=MAX_PARTS) as form:
        images = files_of(form, "images")
        fields = fields_of(form, BatchFields, files="images", several=("references",))
        if not images:
            raise RequestError("images: send the pictures of the parts, as files")
        if fields.reference is not None:
            raise RequestError("reference: a batch has references, one for each image")
        if fields.references and len(fields.references) != len(images):
            raise RequestError(
                f"references: there are {len(fields.references)} for {len(images)} images"
            )
        references = fields.references or (None,) * len(images)
        return [
            _send(daemon, index, await image.read(), {**fields.said(), "reference": reference})
            for index, (image, reference) in enumerate(zip(images, references, strict=True))
        ]


def _send(daemon: StationDaemon, index: int, image: bytes, said: dict[str, Any]) -> _Sent:
    try:
        return _Sent(index, daemon.submit(image, source="http", **said))
    except EdgeError as err:
        return _Sent(index, None, err)


async def _result(sent: _Sent) -> dict[str, Any]:
    error = sent.error
    if sent.ticket is not None:
        try:
            record = await final_record(sent.ticket)
        except EdgeError as err:
            error = err
        else:
            status = status_of_record(record)
            return {"index": sent.index, "status": status, "record": record.to_json()}
    assert error is not None
    return {"index": sent.index, "status": status_of(error), "error": told(error)}


async def _lines(sent: list[_Sent]) -> AsyncIterator[str]:
    for result in asyncio.as_completed([_result(item) for item in sent]):
        yield json.dumps(await result) + "\n"
