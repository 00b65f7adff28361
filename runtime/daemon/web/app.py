"""The application: its routes, and the one place where errors become answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from adcopilot_edge import __version__
from adcopilot_edge.errors import (
    ConfigError,
    EdgeError,
    InputError,
    JournalError,
    NotReadyError,
    QueueFullError,
)
from adcopilot_edge.runtime.daemon.live_feed import LiveFeed
from adcopilot_edge.runtime.daemon.record_pictures import RecordPictures
from adcopilot_edge.runtime.daemon.web import (
    health,
    inspect,
    live,
    page,
    records,
    reviews,
    statistics,
)

if TYPE_CHECKING:
    from adcopilot_edge.runtime.daemon.station import StationDaemon

_STATUS: tuple[tuple[type[EdgeError], int], ...] = (
    (QueueFullError, 429),
    (NotReadyError, 503),
    (JournalError, 503),
    (ConfigError, 422),
    (InputError, 422),
    (EdgeError, 500),
)


def create_app(daemon: StationDaemon) -> FastAPI:
    """The application over a daemon."""
    app = FastAPI(title="adcopilot-edge", version=__version__, docs_url=None, redoc_url=None)
    app.state.daemon = daemon
    app.state.pictures = RecordPictures(daemon)
    app.state.feed = LiveFeed(daemon, app.state.pictures)
    for subject in (health, inspect, live, page, records, reviews, statistics):
        app.include_router(subject.router)
    app.add_exception_handler(EdgeError, _answer)
    return app


def _answer(request: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    told: dict[str, str | float] = {"kind": type(error).__name__, "message": str(error)}
    after = getattr(error, "retry_after_s", None)
    headers = {} if after is None else {"Retry-After": str(max(1, round(after)))}
    if after is not None:
        told["retry_after_s"] = round(after, 3)
    return JSONResponse({"error": told}, status_code=status, headers=headers)
