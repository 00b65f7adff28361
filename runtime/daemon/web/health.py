"""``/healthz`` and ``/readyz``: how the daemon is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from adcopilot_edge.runtime.daemon.web.access import Daemon, Operator

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz(daemon: Daemon, _caller: Operator) -> dict[str, Any]:
    """State, alarms and counters; 200 as long as the process answers."""
    return daemon.to_json()


@router.get("/readyz")
def readyz(daemon: Daemon) -> JSONResponse:
    """200 when parts are taken, else 503 with the state and the time left."""
    problem = daemon.alarms.stopping() if daemon.life.is_ready else daemon.life.state
    left = daemon.life.ready_in_s()
    headers = {} if problem is None or left is None else {"Retry-After": str(max(1, round(left)))}
    return JSONResponse(
        {"ready": problem is None, **daemon.life.to_json()},
        status_code=200 if problem is None else 503,
        headers=headers,
    )
