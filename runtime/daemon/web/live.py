"""``/v1/live``: server-sent events for whoever looks at the line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import APIRouter
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adcopilot_edge.runtime.daemon.life import Life
from adcopilot_edge.runtime.daemon.live_feed import LiveFeed, Reader, event_bytes
from adcopilot_edge.runtime.daemon.web.access import Daemon, Feed

_STATE_S = 1.0
_SEND_S = 10.0  # how long a reader may take to read what was sent

router = APIRouter(prefix="/v1", tags=["live"])


class EventStream(Response):
    """Sends events until the reader is gone, dropped or too slow, or the daemon has ended."""

    media_type = "text/event-stream"

    def __init__(self, feed: LiveFeed, life: Life) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-store"
        self.headers["x-accel-buffering"] = "no"
        self._feed = feed
        self._life = life
        self._reader = feed.open()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_wait_for_end(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._feed.close(self._reader)
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        with suppress(asyncio.TimeoutError, OSError):
            start = {"status": 200, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            await _send_body(send, b"retry: 1000\n\n")
            async for event in _events(self._reader, self._feed, self._life):
                await _send_body(send, event)
            await _send_body(send, b"", more_body=False)


@router.get("/live", response_class=EventStream, status_code=200)
async def live(daemon: Daemon, feed: Feed) -> Response:
    """``state`` each second, ``record`` for each part, ``review`` for what people say.

    The state and the last 50 records come first, then ``caught-up``. A reader that does not keep
    up is disconnected, and may come again.
    """
    return EventStream(feed, daemon.life)


async def _events(reader: Reader, feed: LiveFeed, life: Life) -> AsyncIterator[bytes]:
    due = time.monotonic() + _STATE_S
    while not reader.is_dropped:
        event = await reader.next(max(0.0, due - time.monotonic()))
        if event is not None:
            yield event
        if time.monotonic() >= due:
            due = time.monotonic() + _STATE_S
            yield event_bytes("state", await asyncio.to_thread(feed.state))
            if life.state in ("stopped", "failed"):
                return


async def _wait_for_end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_body(send: Send, body: bytes, *, more_body: bool = True) -> None:
    message = {"type": "http.response.body", "body": body, "more_body": more_body}
    await asyncio.wait_for(send(message), _SEND_S)
