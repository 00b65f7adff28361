"""How large a request may be, and how long its body may take to arrive."""

from __future__ import annotations

import time

import anyio

from adcopilot_edge.runtime.daemon.door.asgi import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    find_header,
)
from adcopilot_edge.runtime.daemon.door.asgi import refuse as refuse_at_once
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings

MAX_HEAD_BYTES = 16_384
_LINGER_S = 2.0
_SHOWN_DIGITS = 20


class BodyLimit:
    """Answers 413 to a body that is too large, 408 to one that does not arrive in time.

    Both are counted as the body comes, whatever length was announced, and whatever the application
    makes of the error: it sees the client gone. A head that is too large is answered with 431:
    h11 measures only heads that come in several pieces.
    """

    def __init__(self, app: App, settings: HttpSettings) -> None:
        self.app = app
        self._most = settings.max_body_bytes
        self._most_mb = settings.max_body_mb
        self._time_s = settings.body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request with its body under watch."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if _head_bytes(scope) > MAX_HEAD_BYTES:
            words = f"the request's head has more than {MAX_HEAD_BYTES} bytes"
            await refuse_at_once(send, 431, "HeadTooLarge", words)
            return
        body = _Body(receive, self._most, self._time_s)
        length = find_header(scope, b"content-length")
        if length is not None and int(length[:_SHOWN_DIGITS]) > self._most:
            await self._refuse(send, body, "too large")
            return
        answer = _Answer(send, body)
        try:
            await self.app(scope, body.receive, answer.send)
        except Exception:
            if body.fault is None:
                raise
        if body.fault is not None and not answer.has_started:
            await self._refuse(send, body, body.fault)

    async def _refuse(self, send: Send, body: _Body, fault: str) -> None:
        is_large = fault == "too large"

        async def linger(message: Message) -> None:
            # A client that still sends would meet a closed connection before it reads the answer.
            if message["type"] == "http.response.body":
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body"}
            await send(message)

        await refuse_at_once(
            linger if is_large else send,
            413 if is_large else 408,
            "BodyTooLarge" if is_large else "BodyTooSlow",
            f"the request is larger than {self._most_mb:g} MB. Send a smaller picture, or raise "
            "max_body_mb in the table http of the station file"
            if is_large
            else f"the request did not arrive within {self._time_s:g} s",
        )


def _head_bytes(scope: Scope) -> int:
    target = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
    return target + sum(len(key) + len(value) + 4 for key, value in scope["headers"])


class _Body:
    """What is left of a body. fault: ``too large`` or ``too slow``, None while all is well."""

    def __init__(self, receive: Receive, most: int, time_s: float) -> None:
        self.fault: str | None = None
        self._receive = receive
        self._left = most
        self._end = time.monotonic() + time_s
        self._is_whole = False

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()
        if self.fault is not None:
            return {"type": "http.disconnect"}
        message: Message | None = None
        with anyio.move_on_after(max(0.0, self._end - time.monotonic())):
            message = await self._receive()
        if message is None:
            self.fault = "too slow"
            return {"type": "http.disconnect"}
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
            if self._left < 0:
                self.fault = "too large"
                return {"type": "http.disconnect"}
        else:
            self._is_whole = True
        return message

    async def drain(self) -> None:
        """Take in what still comes, for a moment, and keep none of it."""
        if self._is_whole:
            return
        with anyio.move_on_after(_LINGER_S):
            await self._drain()

    async def _drain(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] != "http.request" or not message.get("more_body", False):
                return


class _Answer:
    """Passes on the application's answer, unless it was begun after the body went wrong."""

    def __init__(self, send: Send, body: _Body) -> None:
        self.has_started = False
        self._send = send
        self._body = body

    async def send(self, message: Message) -> None:
        if self._body.fault is not None and not self.has_started:
            return
        self.has_started = True
        await self._send(message)
