"""``/v1/statistics``: yield, scores and reviews over time."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query

from adcopilot_edge.runtime.daemon import record_search
from adcopilot_edge.runtime.daemon.part import iso_time
from adcopilot_edge.runtime.daemon.web.access import Daemon
from adcopilot_edge.runtime.daemon.web.records import Wanted

_HOUR_S = 3600
_MAX_HOURS = 24 * 92

router = APIRouter(prefix="/v1", tags=["statistics"])


@router.get("/statistics")
def statistics(
    daemon: Daemon,
    wanted: Wanted,
    hours: Annotated[int, Query(ge=1, le=_MAX_HOURS)] = 24,
) -> dict[str, Any]:
    """Sums by hour and by product over the last ``hours``, or since ``since``.

    The first hour is whole. ``yield`` is the share of parts that passed.
    """
    if wanted.since is None:
        end = time.time() if wanted.until is None else wanted.until
        first = int(end // _HOUR_S) - hours + 1
        wanted = replace(wanted, since=float(first * _HOUR_S))
    assert wanted.since is not None
    return {
        "since": iso_time(wanted.since),
        "hours": record_search.by_hour(daemon.journal, wanted),
        "by_product": record_search.by_product(daemon.journal, wanted),
        "reviews": record_search.reviewed(daemon.journal, wanted),
    }
