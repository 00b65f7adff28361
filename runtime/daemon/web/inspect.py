"""``/v1/inspect``: one part in, its final record out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from adcopilot_edge.runtime.daemon.part import FinalRecord
from adcopilot_edge.runtime.daemon.web.access import Daemon
from adcopilot_edge.runtime.daemon.web.following import final_record
from adcopilot_edge.runtime.daemon.web.part_request import PartFields, PathPart, read_part

router = APIRouter(prefix="/v1", tags=["inspect"])

_FORM = {
    **PartFields.model_json_schema(),
    "properties": {
        **PartFields.model_json_schema()["properties"],
        "image": {"type": "string", "format": "binary"},
    },
    "required": ["image"],
}
PART_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "application/json": {"schema": PathPart.model_json_schema()},
        },
    }
}


_UNUSABLE: dict[int | str, dict[str, Any]] = {
    422: {
        "description": "The record of a part that can't be used, or an error: nothing was accepted",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


@router.post("/inspect", openapi_extra=PART_BODY, responses=_UNUSABLE)
async def inspect(request: Request, daemon: Daemon) -> JSONResponse:
    """Inspect a part: a file in the form's field ``image``, or a path on an allowed root.

    The answer is its final record, which is on the disk by then. An image or a question that can't
    be used is a part too: it is ``uncertain``, and the status is 422.
    """
    image, fields = await read_part(request, daemon)
    ticket = daemon.submit(image, source="http", **fields.said())
    record = await final_record(ticket)
    return JSONResponse(record.to_json(), status_code=status_of_record(record))


def status_of_record(record: FinalRecord) -> int:
    """422 for what the client should have sent otherwise, else 200."""
    return 422 if record.reason in ("image_unusable", "question_unusable") else 200
