"""Which name a client calls this machine by, and which page of which site sends a request."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from adcopilot_edge.runtime.daemon.door.asgi import (
    App,
    Receive,
    Scope,
    Send,
    count_header,
    find_header,
    refuse,
)
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class HostCheck:
    """Refuses requests for a host that this is not, so that no foreign name leads here.

    Otherwise a page of ``evil.example`` whose address was changed to this machine's would be of the
    same origin as the daemon. An address in digits can't be changed so: it is taken when it is the
    one that the connection came in at.
    """

    def __init__(self, app: App, settings: HttpSettings) -> None:
        self.app = app
        self._names = _LOOPBACK | {
            name.lower().rstrip(".") for name in (settings.host, *settings.allowed_hosts)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is for this host."""
        if scope["type"] == "http" and not self._is_here(scope):
            await refuse(
                send,
                421,
                "WrongHost",
                "this host is not known here by the name in the request. Use an address of this "
                "machine, or add the name to allowed_hosts in the table http of the station file",
            )
            return
        await self.app(scope, receive, send)

    def _is_here(self, scope: Scope) -> bool:
        host = find_header(scope, b"host")
        if host is None or count_header(scope, b"host") != 1:
            return False
        name = host_name(host)
        if name is None:
            return False
        if name in self._names:
            return True
        server = scope.get("server")
        return server is not None and _same_address(name, str(server[0]))


def host_name(netloc: str) -> str | None:
    """The name in ``name:port`` or ``[address]:port``, in lower case; None when it is no such."""
    if any(mark in netloc for mark in "@/\\?# \t"):
        return None
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return None
    return None if parts.hostname is None else parts.hostname.rstrip(".")


def find_forgery(scope: Scope, *, has_cookie: bool) -> str | None:
    """Why a request may have been sent by a page of another site, in words; None if it was not.

    A browser names the page's origin in every request that changes something. A program that is no
    browser names none, and needs none, unless it has a browser's cookie.
    """
    if scope["method"] in _SAFE_METHODS:
        return None
    origin = find_header(scope, b"origin")
    if origin is not None:
        netloc = urlsplit(origin).netloc.lower() if "://" in origin else ""
        own = (find_header(scope, b"host") or "").lower()
        return None if netloc and netloc == own else "it comes from a page of another site"
    if find_header(scope, b"sec-fetch-site") not in (None, "same-origin", "none"):
        return "it comes from a page of another site"
    if has_cookie and find_header(scope, b"x-requested-with") is None:
        return "with a cookie it needs the header X-Requested-With"
    return None


def _same_address(name: str, address: str) -> bool:
    try:
        asked, own = ipaddress.ip_address(name), ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(own, ipaddress.IPv6Address) and own.ipv4_mapped is not None:
        own = own.ipv4_mapped
    return asked == own
