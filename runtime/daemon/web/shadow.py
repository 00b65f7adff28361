"""``/v1/shadow``: what a second bundle says beside the line's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from adcopilot_edge.runtime.daemon.shadow_summary import sum_up_shadows
from adcopilot_edge.runtime.daemon.web.access import Daemon

router = APIRouter(prefix="/v1", tags=["shadow"])


@router.get("/shadow")
def shadow(daemon: Daemon) -> dict[str, Any]:
    """Whether one runs, and how often each that did disagreed; bounds are Wilson's, at 95 %."""
    running = daemon.shadow
    state = None
    if running is not None:
        state = {
            "bundle": running.bundle,
            "share": running.share,
            "is_running": running.is_running,
            "dropped": running.dropped,
        }
    return {"running": state, "bundles": sum_up_shadows(daemon.journal)}
