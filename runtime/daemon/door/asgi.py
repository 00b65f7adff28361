"""What the layers of the door share: the types of ASGI, headers, and a refusal."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def find_header(scope: Scope, name: bytes) -> str | None:
    """The value of a header, ``name`` in lower case; None without it, the first of several."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def count_header(scope: Scope, name: bytes) -> int:
    """How often a header is there."""
    return sum(key == name for key, _ in scope["headers"])


def client_of(scope: Scope) -> str:
    """The address that a request comes from, without its port."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


async def refuse(
    send: Send, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None
) -> None:
    """Answer with an error, in the form that every error of the daemon has.

    The connection is closed, for what is left of the request will not be read.
    """
    body = json.dumps({"error": {"kind": kind, "message": message}}).encode()
    told = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **(headers or {}),
    }
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(key.encode(), value.encode()) for key, value in told.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
