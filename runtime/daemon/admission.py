"""Who is let into the line: an accepted part is in the queue and on its way to the disk."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from adcopilot_edge.errors import NotReadyError, QueueFullError
from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.life import Life
from adcopilot_edge.runtime.daemon.pace import InspectionPace
from adcopilot_edge.runtime.daemon.part import Part, Reason
from adcopilot_edge.runtime.daemon.part_queue import PartQueue
from adcopilot_edge.runtime.daemon.ticket import IN_QUEUE, Counters, Ticket
from adcopilot_edge.runtime.stream import Event

_ALARM_RETRY_S = 5.0


class Admission:
    """Accepts parts, from any thread. in_hand: how many are inspected; ring: wakes the line.

    unnoted: numbers of the parts whose acceptance could not be written, for the line.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        life: Life,
        alarms: Alarms,
        queue: PartQueue,
        counters: Counters,
        pace: InspectionPace,
        in_hand: Callable[[], int],
        ring: Callable[[], None],
    ) -> None:
        self.unnoted: deque[int] = deque()
        self._journal = journal
        self._life = life
        self._alarms = alarms
        self._queue = queue
        self._counters = counters
        self._pace = pace
        self._in_hand = in_hand
        self._ring = ring

    def submit(self, part: Part, on_event: Callable[[Event], None] | None) -> Ticket:
        """Accept a part to be inspected. Raises as ``Line.submit``."""
        began = time.monotonic()
        self._check(part)
        sha256 = hashlib.sha256(part.image).hexdigest()
        with self._queue.lock:
            self._check(part)
            return self._accept(part, began, sha256, on_event)

    def end_unseen(self, part: Part, reason: Reason, detail: str) -> Ticket:
        """Accept a part that is not to be inspected. Raises as ``Line.end_unseen``."""
        with self._queue.lock:
            self._check_open()
            return self._accept(part, time.monotonic(), "", None, ending=(reason, detail))

    def _accept(
        self,
        part: Part,
        began: float,
        sha256: str,
        on_event: Callable[[Event], None] | None,
        ending: tuple[Reason, str] | None = None,
    ) -> Ticket:
        takt_ms = 0.0 if ending is not None else part.takt_ms
        ticket = Ticket(
            number=self._journal.next_id(),
            part=part,
            received_at=time.time(),
            accepted=began,
            deadline=None if takt_ms is None else began + self._pace.time_for(takt_ms),
            sha256=sha256,
            on_event=on_event,
            ending=ending or IN_QUEUE,
        )
        self._queue.put(ticket)
        self._ring()  # before the journal, so that the worker does not wait behind its thread
        self._counters.accepted += 1
        noted = self._journal.accept(ticket.number, part, ticket.received_at, sha256)
        noted.add_done_callback(lambda future: self._see_noted(ticket.number, future))
        return ticket

    def _check(self, part: Part) -> None:
        """Raise where the part can't be taken now."""
        self._check_open()
        try:
            self._queue.check(part, in_hand=self._in_hand())
        except QueueFullError:
            self._counters.refused_full += 1
            raise

    def _check_open(self) -> None:
        alarm = self._alarms.stopping()
        if self._life.is_ready and alarm is None:
            return
        self._counters.refused_not_ready += 1
        if self._life.is_ready:
            raise NotReadyError(alarm or "", retry_after_s=_ALARM_RETRY_S)
        raise self._life.refusal()

    def _see_noted(self, number: int, noted: Future[object]) -> None:
        if noted.exception() is not None:
            self.unnoted.append(number)
            self._ring()
