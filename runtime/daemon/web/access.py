"""How a route gets at the daemon, and says who may use it.

A route with a parameter of type ``Operator`` or ``Admin`` answers 401 to the unknown and 403 to
those whose role does not reach; the parameter is the ``Caller``. With ``AdminName`` and
``OperatorName`` it is the caller's name alone, for the audit trail.

The dependencies are coroutines for speed: FastAPI runs plain functions in another thread.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from adcopilot_edge.runtime.daemon.door.roles import Caller, require_role
from adcopilot_edge.runtime.daemon.live_feed import LiveFeed
from adcopilot_edge.runtime.daemon.record_pictures import RecordPictures
from adcopilot_edge.runtime.daemon.station import StationDaemon


async def _daemon(request: Request) -> StationDaemon:
    daemon: StationDaemon = request.app.state.daemon
    return daemon


async def _feed(request: Request) -> LiveFeed:
    feed: LiveFeed = request.app.state.feed
    return feed


async def _pictures(request: Request) -> RecordPictures:
    pictures: RecordPictures = request.app.state.pictures
    return pictures


def find_caller(request: Request) -> Caller | None:
    """Who asks, as the gate found; None for the unknown."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return caller


async def require_operator(request: Request) -> Caller:
    """Who asks, an operator or an admin. Raises UnauthenticatedError."""
    return require_role(find_caller(request), "operator")


async def require_admin(request: Request) -> Caller:
    """Who asks, an admin. Raises UnauthenticatedError or ForbiddenError."""
    return require_role(find_caller(request), "admin")


async def _admin_name(request: Request) -> str:
    return (await require_admin(request)).name


async def _operator_name(request: Request) -> str:
    return (await require_operator(request)).name


Daemon = Annotated[StationDaemon, Depends(_daemon)]
Feed = Annotated[LiveFeed, Depends(_feed)]
Pictures = Annotated[RecordPictures, Depends(_pictures)]
Operator = Annotated[Caller, Depends(require_operator)]
Admin = Annotated[Caller, Depends(require_admin)]
AdminName = Annotated[str, Depends(_admin_name)]
OperatorName = Annotated[str, Depends(_operator_name)]
