"""The gate: finds out who asks, and lets the unknown reach only what is for everyone."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

from adcopilot_edge.errors import UnauthenticatedError
from adcopilot_edge.runtime.daemon.door.asgi import (
    App,
    Receive,
    Scope,
    Send,
    count_header,
    find_header,
    refuse,
)
from adcopilot_edge.runtime.daemon.door.keys import Keys
from adcopilot_edge.runtime.daemon.door.origin import find_forgery
from adcopilot_edge.runtime.daemon.door.rate import RateLimit, told_in
from adcopilot_edge.runtime.daemon.door.roles import LOCAL, Caller, require_role
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings

# For everyone: the page itself, which holds no data, how to sign in, and whether parts are taken.
PUBLIC_PATHS = frozenset({"/", "/favicon.ico", "/login", "/logout", "/readyz", "/v1/session"})
PUBLIC_FOLDERS = ("/page/",)
TOO_MANY_FAILURES = "too many wrong tokens came from this address"
_BEARER = "bearer "
_NO_TOKEN = "bearer none"  # of clients that must send a key and have none
_THROUGH_PROXY = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")


class Gate:
    """Puts the ``Caller`` into ``scope["state"]["caller"]``, or None on a public path.

    A token in the header counts before a cookie, and a wrong one is refused even where none is
    needed; ``none`` is no token. Who sends many wrong ones is told to wait; a right one counts at
    any time, so that a client with an old token does not stop the line of others behind the same
    address.
    """

    def __init__(self, app: App, keys: Keys) -> None:
        self.app = app
        self._keys = keys
        self._settings = keys.settings
        self._token_rate = RateLimit(keys.settings.requests_per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the requests of those who may make them."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        given = find_header(scope, b"authorization")
        has_token = given is not None and given.strip().lower() != _NO_TOKEN
        cookie = None if has_token else session_cookie(scope, self._settings)
        caller = self._by_token(scope) if has_token else self._without_token(scope, cookie)
        if has_token and caller is None:
            if (wait_s := self._keys.note_failure(scope)) > 0:
                await refuse(send, 429, "TooManyFailures", TOO_MANY_FAILURES, told_in(wait_s))
            else:
                await _refuse_unknown(send, "the token is not known here, or was removed")
            return
        if not has_token and (why := find_forgery(scope, has_cookie=cookie is not None)):
            await refuse(send, 403, "ForbiddenError", f"the request is refused: {why}")
            return
        if caller is None and not is_public(scope["path"]):
            try:
                require_role(caller, "operator")
            except UnauthenticatedError as err:
                await _refuse_unknown(send, str(err))
            return
        if caller is not None and caller.way != "local":
            wait_s = self._token_rate.take(caller.name)
            if wait_s > 0:
                await refuse(
                    send,
                    429,
                    "RateLimited",
                    f"{caller.name} sends more than {self._settings.requests_per_s:g} requests a "
                    "second",
                    told_in(wait_s),
                )
                return
        scope.setdefault("state", {})["caller"] = caller
        await self.app(scope, receive, send)

    def _by_token(self, scope: Scope) -> Caller | None:
        given = find_header(scope, b"authorization") or ""
        if count_header(scope, b"authorization") != 1 or not given.lower().startswith(_BEARER):
            return None
        token = self._keys.tokens.find(given[len(_BEARER) :].strip())
        return None if token is None else Caller(name=token.name, role=token.role, way="token")

    def _without_token(self, scope: Scope, cookie: str | None) -> Caller | None:
        if cookie is not None and (caller := self._keys.sessions.find(cookie)) is not None:
            return caller
        if self._settings.needs_token:
            return None
        came_through = any(find_header(scope, name) is not None for name in _THROUGH_PROXY)
        return None if came_through else LOCAL


def cookie_name(settings: HttpSettings) -> str:
    """The name of the cookie; with TLS one that a browser keeps to this very host."""
    return "__Host-adcopilot-session" if settings.has_tls else "adcopilot-session"


def session_cookie(scope: Scope, settings: HttpSettings) -> str | None:
    """The secret in the cookie of a signed-in browser, None without one."""
    wanted = cookie_name(settings)
    for key, value in scope["headers"]:
        if key != b"cookie":
            continue
        try:
            morsel = SimpleCookie(value.decode("latin-1")).get(wanted)
        except CookieError:
            continue
        if morsel is not None:
            return morsel.value
    return None


def is_public(path: str) -> bool:
    """Whether everyone may have what lies at that path."""
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS)


async def _refuse_unknown(send: Send, message: str) -> None:
    await refuse(send, 401, "UnauthenticatedError", message, {"www-authenticate": "Bearer"})
