"""What every answer has: a number to find it in the log, strict headers, and its line there."""

from __future__ import annotations

import logging
import re
import secrets
import time

from adcopilot_edge.runtime.daemon.door.asgi import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    client_of,
    find_header,
)
from adcopilot_edge.runtime.daemon.door.roles import Caller

_LOG = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# A route that shows a page sets a policy of its own in place of the first one.
_HEADERS = {
    b"content-security-policy": b"default-src 'none'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"cache-control": b"no-store",
}
_LONGEST_PATH = 200


class Answers:
    """Adds the headers, and logs one line for each request, without what may be secret.

    Of a request the line has method, path, address and who asked: no header, no query, no body. A
    request may bring a number of its own in ``X-Request-ID``.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request, and mark its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        number = _number(scope)
        started = time.perf_counter()
        status = 500

        async def mark(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                present = {key.lower() for key, _ in headers}
                headers += [item for item in _HEADERS.items() if item[0] not in present]
                message = {**message, "headers": [*headers, (b"x-request-id", number.encode())]}
            await send(message)

        try:
            await self.app(scope, receive, mark)
        finally:
            caller: Caller | None = scope.get("state", {}).get("caller")
            _LOG.info(
                "%s %s %d %.1f ms, from %s, by %s, request %s",
                scope["method"],
                _printable_path(scope),
                status,
                1e3 * (time.perf_counter() - started),
                client_of(scope),
                "nobody known" if caller is None else f"{caller.name} ({caller.way})",
                number,
            )


def _number(scope: Scope) -> str:
    given = find_header(scope, b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return secrets.token_hex(8)


def _printable_path(scope: Scope) -> str:
    """The path as it was sent, percent signs and all, so that it can't break the line."""
    raw = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    path = ascii(raw.partition(b"?")[0].decode("latin-1"))[1:-1]
    return path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}..."
