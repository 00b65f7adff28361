"""The accepted parts that wait for their inspection, and how many may."""

from __future__ import annotations

import threading
from collections import deque

from adcopilot_edge.errors import QueueFullError
from adcopilot_edge.runtime.daemon.pace import InspectionPace
from adcopilot_edge.runtime.daemon.part import Part
from adcopilot_edge.runtime.daemon.ticket import IN_QUEUE, Ticket

_LEAST_RETRY_S = 0.05


class PartQueue:
    """Parts in the order of their acceptance. May be shared by threads.

    lock: is held by whoever lets a part in, from the look whether it may to ``put``.
    """

    def __init__(self, size: int, pace: InspectionPace) -> None:
        self.lock = threading.RLock()
        self._size = size
        self._pace = pace
        self._tickets: deque[Ticket] = deque()

    def __len__(self) -> int:
        return len(self._tickets)

    def check(self, part: Part, *, in_hand: int) -> None:
        """Raise QueueFullError where the part can't wait, or would wait longer than its takt.

        in_hand: how many are inspected at present.
        """
        ahead = len(self._tickets) + in_hand
        expected_s = self._pace.expected_s()
        if ahead > self._size:
            raise QueueFullError(
                f"{self._size} parts wait already; this one was not accepted",
                retry_after_s=max(_LEAST_RETRY_S, expected_s * len(self._tickets)),
            )
        if ahead == 0 or part.takt_ms is None:
            return
        missing = self._pace.surely_s(ahead + 1) - self._pace.time_for(part.takt_ms)
        if missing > 0:
            raise QueueFullError(
                f"{ahead} parts are ahead, and the takt of {part.takt_ms:g} ms would end before "
                f"this one's turn; it was not accepted",
                retry_after_s=max(_LEAST_RETRY_S, missing),
            )

    def put(self, ticket: Ticket) -> None:
        """Let a part in."""
        with self.lock:
            self._tickets.append(ticket)

    def pop(self) -> Ticket | None:
        """The next part that is to be inspected, or None."""
        with self.lock:
            wanted = (item for item in self._tickets if item.ending is IN_QUEUE)
            ticket = next(wanted, None)
            if ticket is not None:
                self._tickets.remove(ticket)
            return ticket

    def take_late(self, now: float) -> list[Ticket]:
        """Take out those whose time is over by the monotonic clock."""
        with self.lock:
            return self._take([item for item in self._tickets if item.is_late(now)])

    def take(self, number: int) -> Ticket | None:
        """Take a certain part out, None when it is not here."""
        with self.lock:
            found = self._take([item for item in self._tickets if item.number == number])
        return found[0] if found else None

    def take_all(self) -> list[Ticket]:
        """Take all out."""
        with self.lock:
            return self._take(list(self._tickets))

    def next_deadline(self) -> float | None:
        """When the next one's time is over by the monotonic clock, None if none has a time."""
        with self.lock:
            found = [item.deadline for item in self._tickets if item.deadline is not None]
        return min(found, default=None)

    def _take(self, tickets: list[Ticket]) -> list[Ticket]:
        for ticket in tickets:
            self._tickets.remove(ticket)
        return tickets
