"""How often something may be started anew within an hour."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 3600.0


class RestartBudget:
    """Allows ``limit`` starts in any hour."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: deque[float] = deque()

    def __str__(self) -> str:
        return f"{len(self._taken)} times within an hour"

    def take(self, now: float) -> bool:
        """Whether one more is allowed, and take it. now: by the monotonic clock, in seconds."""
        while self._taken and now - self._taken[0] >= _WINDOW_S:
            self._taken.popleft()
        if len(self._taken) >= self._limit:
            return False
        self._taken.append(now)
        return True
