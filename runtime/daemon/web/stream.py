"""``/v1/inspect/stream``: what is known of a part as soon as it is known, its record at last."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from adcopilot_edge.runtime.daemon.part import FinalRecord
from adcopilot_edge.runtime.daemon.ticket import Ticket
from adcopilot_edge.runtime.daemon.web.access import Daemon
from adcopilot_edge.runtime.daemon.web.errors import told
from adcopilot_edge.runtime.daemon.web.following import Follower
from adcopilot_edge.runtime.daemon.web.inspect import PART_BODY
from adcopilot_edge.runtime.daemon.web.part_request import read_part
from adcopilot_edge.runtime.stream import AnswerEvent, Event, TextEvent, VerdictEvent
from adcopilot_edge.types import Verdict

router = APIRouter(prefix="/v1", tags=["inspect"])

SSE_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
KEEP_ALIVE = ": waiting\n\n"


@router.post(
    "/inspect/stream",
    openapi_extra=PART_BODY,
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def stream(request: Request, daemon: Daemon) -> StreamingResponse:
    """Inspect a part as ``/v1/inspect`` does, and tell server-sent events.

    They are ``accepted``, ``verdict``, ``words`` and ``answer`` for what was asked, and ``record``
    at last, or ``error`` in its place. Only the record is final: where it has another verdict than
    was told, as when the takt ended meanwhile, ``verdict`` is told once more before it. A client
    that goes away leaves the part as it is.
    """
    image, fields = await read_part(request, daemon)
    follower = Follower()
    ticket = daemon.submit(image, source="http", on_event=follower.put, **fields.said())
    return StreamingResponse(
        _events(ticket, follower), media_type="text/event-stream", headers=SSE_HEADERS
    )


def sse(name: str, content: dict[str, Any]) -> str:
    """A server-sent event."""
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


async def _events(ticket: Ticket, follower: Follower) -> AsyncIterator[str]:
    yield sse("accepted", {"id": ticket.number})
    verdict: Verdict | None = None
    try:
        async for item in follower.follow(ticket):
            if item is None:
                yield KEEP_ALIVE
            elif isinstance(item, FinalRecord):
                if item.verdict != verdict:
                    yield _verdict(item.verdict, item.score)
                yield sse("record", item.to_json())
            else:
                if isinstance(item, VerdictEvent):
                    verdict = item.verdict
                yield _event(item)
    except Exception as err:  # the status has been sent
        yield sse("error", {"id": ticket.number, **told(err)})


def _event(event: Event) -> str:
    if isinstance(event, VerdictEvent):
        return _verdict(event.verdict, event.anomaly_score)
    if isinstance(event, TextEvent):
        return sse("words", {"name": event.name, "piece": event.piece})
    assert isinstance(event, AnswerEvent), "the worker keeps the inspection for its last message"
    return sse("answer", {"name": event.name, "text": event.text, "is_complete": event.is_complete})


def _verdict(verdict: Verdict, score: float | None) -> str:
    content = {
        "verdict": verdict,
        "reject": verdict != "normal",
        "anomaly_score": None if score is None else round(score, 6),
    }
    return sse("verdict", content)
