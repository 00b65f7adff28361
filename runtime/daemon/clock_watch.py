"""Whether the wall clock can be trusted: it dates records and ages, and decides nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

from adcopilot_edge.runtime.daemon.part import iso_time

_TOLERATED_S = 2.0
_TOLD_S = 3600.0


class ClockWatch:
    """Sees a clock that went back, since the last look or since the newest record.

    newest: the time of the newest record at the start, in seconds since 1970, or None.
    """

    def __init__(
        self,
        newest: float | None,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._newest = newest if newest is not None else wall()
        self._told_at: float | None = None

    def look(self) -> str | None:
        """What is wrong, for an hour at most or until the clock has caught up; or None."""
        wall, steady = self._wall(), self._steady()
        behind = self._newest - wall
        if behind <= _TOLERATED_S:
            self._newest, self._told_at = max(self._newest, wall), None
            return None
        if self._told_at is None:
            self._told_at = steady
        if steady - self._told_at > _TOLD_S:
            self._newest, self._told_at = wall, None
            return None
        return (
            f"the clock went back by {behind:.0f} s, to {iso_time(wall)}: records are dated before "
            "older ones. Their numbers keep the order, and no verdict depends on it"
        )
