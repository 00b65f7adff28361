"""``/v1/audit``, who changed what, and ``/v1/reload``, which reads the station file again."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query

from adcopilot_edge.runtime.daemon.part import iso_time
from adcopilot_edge.runtime.daemon.reload import reload
from adcopilot_edge.runtime.daemon.web.access import AdminName, Daemon

router = APIRouter(prefix="/v1", tags=["changes"])

_MAX_ID = 2**63 - 1


@router.get("/audit")
def audit(
    daemon: Daemon,
    before: Annotated[int, Query(gt=0, le=_MAX_ID, description="Only entries below this.")] = (
        _MAX_ID
    ),
    limit: Annotated[int, Query(gt=0, le=500)] = 50,
) -> dict[str, Any]:
    """The audit trail, the latest first; ``next`` is ``before`` of the next page, or null."""
    rows = daemon.journal.read(
        "SELECT id, at, who, action, details FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?",
        *(before, limit + 1),
    )
    entries = [
        {**row, "at": iso_time(row["at"]), "details": json.loads(row["details"])}
        for row in rows[:limit]
    ]
    return {"entries": entries, "next": entries[-1]["id"] if len(rows) > limit else None}


@router.post("/reload")
def reload_station_file(daemon: Daemon, who: AdminName) -> dict[str, Any]:
    """Read the station file again and go by it from the next part on; what has changed."""
    return {"changes": [item.model_dump() for item in reload(daemon, who=who)]}
