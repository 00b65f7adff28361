"""The application: its routes, and what stands before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI

from adcopilot_edge import __version__
from adcopilot_edge.runtime.daemon.door.gate import Gate
from adcopilot_edge.runtime.daemon.door.keys import Keys
from adcopilot_edge.runtime.daemon.live_feed import LiveFeed
from adcopilot_edge.runtime.daemon.record_pictures import RecordPictures
from adcopilot_edge.runtime.daemon.web import (
    batch,
    cameras,
    changes,
    chat,
    health,
    inspect,
    live,
    metrics,
    page,
    products,
    records,
    reviews,
    session,
    shadow,
    statistics,
    stream,
)
from adcopilot_edge.runtime.daemon.web.access import require_operator
from adcopilot_edge.runtime.daemon.web.errors import ERROR_ANSWERS, add_error_answers
from adcopilot_edge.runtime.daemon.web.readiness import ReadinessGate

if TYPE_CHECKING:
    from adcopilot_edge.runtime.daemon.inputs.inputs import Inputs
    from adcopilot_edge.runtime.daemon.station import StationDaemon


def create_app(daemon: StationDaemon, inputs: Inputs | None = None) -> FastAPI:
    """The application over a daemon, behind the gate that knows who asks.

    inputs: its other ways in, with the cameras.
    """
    app = FastAPI(title="adcopilot-edge", version=__version__, docs_url=None, redoc_url=None)
    app.state.daemon = daemon
    app.state.inputs = inputs
    app.state.metrics = metrics.Metrics(daemon)
    app.state.keys = Keys(daemon.folder.path, daemon.settings.http)
    app.state.pictures = RecordPictures(daemon)
    app.state.feed = LiveFeed(daemon, app.state.pictures)
    for subject in (health, session, page):
        app.include_router(subject.router, responses=ERROR_ANSWERS)
    known = [Depends(require_operator)]
    for subject in (
        *(metrics, inspect, stream, batch, chat, cameras, products, changes, shadow),
        *(live, records, reviews, statistics),
    ):
        app.include_router(subject.router, dependencies=known, responses=ERROR_ANSWERS)
    add_error_answers(app)
    app.add_middleware(ReadinessGate, daemon=daemon)
    app.add_middleware(Gate, keys=app.state.keys)
    return app
