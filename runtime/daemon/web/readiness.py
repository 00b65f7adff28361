"""Before the daemon was ready once, nothing that inspects or changes is answered, nor read."""

from __future__ import annotations

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.web.errors import answer_of

# What the page needs to show how far the start is, and the parts of before.
_ALWAYS = ("/v1/session", "/v1/live", "/v1/records", "/v1/statistics")


class ReadinessGate:
    """Answers 503 with the state and the time left, in place of ``app``, but for what only reads.

    Once the daemon was ready, the line itself refuses parts that it can't take.
    """

    def __init__(self, app: ASGIApp, daemon: StationDaemon) -> None:
        self._app = app
        self._daemon = daemon

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let ``app`` do it."""
        is_held = (
            scope["type"] == "http"
            and scope["path"].startswith("/v1/")
            and not (scope["method"] == "GET" and scope["path"].startswith(_ALWAYS))
            and not self._daemon.life.was_ready
        )
        if not is_held:
            await self._app(scope, receive, send)
            return
        if scope["method"] == "POST":
            self._daemon.line.counters.refused_not_ready += 1
        await answer_of(Request(scope), self._daemon.life.refusal())(scope, receive, send)
