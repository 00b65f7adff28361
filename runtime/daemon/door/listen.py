"""How uvicorn listens at the door."""

from __future__ import annotations

import math

import uvicorn

from adcopilot_edge.runtime.daemon.door.asgi import App
from adcopilot_edge.runtime.daemon.door.body import MAX_HEAD_BYTES
from adcopilot_edge.runtime.daemon.door.guard import guard
from adcopilot_edge.runtime.daemon.door.protocol import door_protocol
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings

_CLOSE_S = 5
_KEEP_ALIVE_S = 5


def door_config(app: App, settings: HttpSettings) -> uvicorn.Config:
    """The guarded application at the address of ``settings``."""
    return uvicorn.Config(
        guard(app, settings),
        host=settings.host,
        port=settings.port,
        http=door_protocol(settings),
        ws="none",
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ssl_certfile=settings.cert,
        ssl_keyfile=settings.key,
        proxy_headers=False,
        server_header=False,
        log_config=None,
        access_log=False,
        timeout_keep_alive=math.ceil(min(_KEEP_ALIVE_S, settings.header_timeout_s)),
        timeout_graceful_shutdown=_CLOSE_S,
    )
