"""``/v1/chat/completions`` and ``/v1/models``: a part for clients of OpenAI's API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError

from adcopilot_edge.runtime.daemon.part import FinalRecord
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.ticket import Ticket
from adcopilot_edge.runtime.daemon.web.access import Daemon
from adcopilot_edge.runtime.daemon.web.chat_request import (
    PRODUCT,
    ChatPart,
    ChatRequest,
    read_chat,
)
from adcopilot_edge.runtime.daemon.web.errors import RequestError, request_error, told
from adcopilot_edge.runtime.daemon.web.following import Follower, final_record
from adcopilot_edge.runtime.daemon.web.stream import KEEP_ALIVE, SSE_HEADERS
from adcopilot_edge.runtime.stream import TextEvent, VerdictEvent

router = APIRouter(prefix="/v1", tags=["chat"])

ANY_BUNDLE = "adcopilot"  # the bundle in use, whichever it is


@router.get("/models")
async def models(daemon: Daemon) -> dict[str, Any]:
    """The bundle, under its id and as ``adcopilot``, and each product as ``product:NAME``."""
    return {"object": "list", "data": [_model(name) for name in _names(daemon)]}


@router.get("/models/{name}")
async def model(name: str, daemon: Daemon) -> dict[str, Any]:
    """One of the models."""
    if name not in _names(daemon):
        raise RequestError(f"there is no model {name!r}", status=404)
    return _model(name)


@router.post(
    "/chat/completions",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    },
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def complete(request: Request, daemon: Daemon) -> Response:
    """Inspect a part and answer a question about it.

    Two images of ``data:`` URLs are a golden and a part, which no output is told of; one image is a
    part of the product that ``model`` names. The text of the answer is that to the question, or a
    sentence on the verdict; ``adcopilot`` is the final record, and ``ignored`` what had no effect.
    """
    wanted, part = await asyncio.to_thread(_read, await request.body(), _names(daemon))
    said = {**part.fields.said(), "source": "chat", "golden": part.golden}
    if not wanted.stream:
        record = await final_record(daemon.submit(part.image, **said))
        return JSONResponse(_completion(wanted.model, part, record))
    follower = Follower()
    ticket = daemon.submit(part.image, on_event=follower.put, **said)
    return StreamingResponse(
        _chunks(wanted.model, part, ticket, follower),
        media_type="text/event-stream",
        headers=SSE_HEADERS,
    )


def sentence(record: FinalRecord) -> str:
    """The verdict of a record in words."""
    if record.reason is not None:
        return f"Uncertain, so the part is rejected: {record.detail or record.reason}."
    limit = "" if record.threshold is None else f", threshold {record.threshold:.3f}"
    score = "" if record.score is None else f" Score {record.score:.3f}{limit}."
    if record.verdict != "anomaly":
        words = "no defect." if record.verdict == "normal" else "so the part is rejected."
        return f"{record.verdict.capitalize()}: {words}{score}"
    places = [
        f"{defect['label']} at [{', '.join(f'{value:g}' for value in defect['bbox_2d'])}]"
        for defect in record.defects
    ]
    return f"Anomaly: {'; '.join(places) or 'nowhere in particular'}.{score}"


def _names(daemon: StationDaemon) -> list[str]:
    bundle = [] if daemon.line.bundle is None else [daemon.line.bundle]
    return [*bundle, ANY_BUNDLE, *(f"{PRODUCT}{item.name}" for item in daemon.settings.products)]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "adcopilot-edge"}


def _read(body: bytes, names: list[str]) -> tuple[ChatRequest, ChatPart]:
    try:
        wanted = ChatRequest.model_validate_json(body)
        return wanted, read_chat(wanted, names)
    except ValidationError as err:
        raise request_error(err) from err


def _facts(part: ChatPart, record: FinalRecord) -> dict[str, Any]:
    return {**record.to_json(), "ignored": part.ignored}


def _words(record: FinalRecord) -> str:
    return record.text.get("ask") or sentence(record)


def _completion(name: str, part: ChatPart, record: FinalRecord) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{record.id}",
        "object": "chat.completion",
        "created": int(record.received_at),
        "model": name,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _words(record), "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "adcopilot": _facts(part, record),
    }


async def _chunks(
    name: str, part: ChatPart, ticket: Ticket, follower: Follower
) -> AsyncIterator[str]:
    def chunk(delta: dict[str, Any], finish: str | None = None, **extra: Any) -> str:
        content = {
            "id": f"chatcmpl-{ticket.number}",
            "object": "chat.completion.chunk",
            "created": int(ticket.received_at),
            "model": name,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
            **extra,
        }
        return _data(content)

    sent = ""
    yield chunk({"role": "assistant", "content": ""}, adcopilot={"id": ticket.number})
    try:
        async for item in follower.follow(ticket):
            if item is None:
                yield KEEP_ALIVE
            elif isinstance(item, VerdictEvent):
                score = round(item.anomaly_score, 6)
                early = {"verdict": item.verdict, "anomaly_score": score}
                yield chunk({}, adcopilot=early)
            elif isinstance(item, TextEvent) and item.name == "ask":
                sent += item.piece
                yield chunk({"content": item.piece})
            elif isinstance(item, FinalRecord):
                if not sent:
                    yield chunk({"content": _words(item)})
                elif item.reason is not None:
                    yield chunk({"content": f"\n{sentence(item)}"})
                yield chunk({}, "stop", adcopilot=_facts(part, item))
    except Exception as err:  # the status has been sent
        yield _data({"error": told(err)})
    yield "data: [DONE]\n\n"


def _data(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"
