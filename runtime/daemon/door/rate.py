"""How many requests one client may make: a bucket that fills at a rate and is emptied by each."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_CLIENTS = 4096


class RateLimit:
    """A bucket for each client. Used by the thread of the event loop alone.

    per_s: requests that a bucket regains in a second; 0 is no limit. at_once: what it holds, two
    seconds' worth and at least one unless told. With very many clients the ones that were quiet
    for longest are forgotten.
    """

    def __init__(
        self,
        per_s: float,
        *,
        at_once: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.per_s = per_s
        self.at_once = max(1.0, 2 * per_s) if at_once is None else at_once
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one from the client's bucket: 0, or in how many seconds there is one to take."""
        if self.per_s == 0:
            return 0.0
        level = self._level(client)
        if level < 1.0:
            return (1.0 - level) / self.per_s
        self._buckets[client] = (level - 1.0, self._clock())
        self._buckets.move_to_end(client)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0

    def _level(self, client: str) -> float:
        level, since = self._buckets.get(client, (self.at_once, 0.0))
        return min(self.at_once, level + (self._clock() - since) * self.per_s)


def told_in(wait_s: float) -> dict[str, str]:
    """The header that says when to try again: whole seconds, at least one."""
    return {"retry-after": str(max(1, math.ceil(wait_s)))}
