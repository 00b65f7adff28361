"""How a route gets at the daemon, and at who asks."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from adcopilot_edge.runtime.daemon.station import StationDaemon


def _daemon(request: Request) -> StationDaemon:
    daemon: StationDaemon = request.app.state.daemon
    return daemon


Daemon = Annotated[StationDaemon, Depends(_daemon)]


def who(request: Request) -> str:
    """Who asks, for the audit trail."""
    return "local"


Who = Annotated[str, Depends(who)]
