"""How many requests there may be at a time, and how many of one address in a second."""

from __future__ import annotations

from adcopilot_edge.runtime.daemon.door.asgi import App, Receive, Scope, Send, client_of, refuse
from adcopilot_edge.runtime.daemon.door.rate import RateLimit, told_in
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings


class LoadLimit:
    """Answers 429 to who asks too often, and 503 while too many requests are in work."""

    def __init__(self, app: App, settings: HttpSettings) -> None:
        self.app = app
        self._settings = settings
        self._rate = RateLimit(settings.requests_per_s)
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is within the limits."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if (wait_s := self._rate.take(client_of(scope))) > 0:
            await refuse(
                send,
                429,
                "RateLimited",
                f"more than {self._settings.requests_per_s:g} requests a second come from this "
                "address",
                told_in(wait_s),
            )
            return
        if self._in_work >= self._settings.max_requests:
            await refuse(
                send,
                503,
                "TooManyRequests",
                f"{self._settings.max_requests} requests are in work already",
                told_in(1.0),
            )
            return
        self._in_work += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._in_work -= 1
