"""The line: accepts parts, has them inspected one after another, and ends each with one record.

One thread decides everything, so that no part can end twice. A part whose time runs out is
``uncertain`` at that moment, wherever it is; so is one whose worker hangs or dies.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from adcopilot_edge.errors import DaemonError
from adcopilot_edge.runtime.daemon.admission import Admission
from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.finals import Finals, ImageKeeper
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.life import Life
from adcopilot_edge.runtime.daemon.messages import NewProducts
from adcopilot_edge.runtime.daemon.pace import InspectionPace
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part, Reason
from adcopilot_edge.runtime.daemon.part_queue import PartQueue
from adcopilot_edge.runtime.daemon.ticket import Counters, Ticket, final_record
from adcopilot_edge.runtime.daemon.wake import Wake
from adcopilot_edge.runtime.daemon.worker import WorkerHandle
from adcopilot_edge.runtime.daemon.worker_place import FAILED, WorkerPlace
from adcopilot_edge.runtime.stream import Event
from adcopilot_edge.types import Inspection

_LOG = logging.getLogger(__name__)
_IDLE_S = 1.0


class Line:
    """Takes parts and ends each with one final record.

    outputs_of, on_final: as ``Finals`` has them. exit_code: of the process, once it has failed.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        life: Life,
        worker: WorkerHandle,
        images: ImageKeeper,
        queue_size: int,
        stuck_after_s: float,
        restarts_per_hour: int,
        alarms: Alarms,
        outputs_of: Callable[[Part], Iterable[str]] = lambda part: (),
        on_final: Callable[[FinalRecord, Part], None] = lambda record, part: None,
    ) -> None:
        self.counters = Counters()
        self.pace = InspectionPace()
        self.exit_code = 0
        self._life = life
        self._finals = Finals(
            journal=journal,
            images=images,
            counters=self.counters,
            pace=self.pace,
            outputs_of=outputs_of,
            on_final=on_final,
        )
        self._queue = PartQueue(queue_size, self.pace)
        self._place = WorkerPlace(
            worker,
            life=life,
            pace=self.pace,
            counters=self.counters,
            stuck_after_s=stuck_after_s,
            restarts_per_hour=restarts_per_hour,
            take=self._queue.pop,
            finish=self._finish,
            fail=self._fail,
        )
        self._drain_until: float | None = None
        self._is_over = False
        self._turned = time.monotonic()
        self._wake = Wake()
        self._admission = Admission(
            journal=journal,
            life=life,
            alarms=alarms,
            queue=self._queue,
            counters=self.counters,
            pace=self.pace,
            in_hand=lambda: int(self._place.is_busy),
            ring=self._wake.ring,
        )
        self._thread = threading.Thread(target=self._run, name="line", daemon=True)

    def start(self) -> None:
        """Start the thread with the worker; ``Life`` tells when parts are taken."""
        self._wake.open()
        self._thread.start()

    @property
    def bundle(self) -> str | None:
        """The id of the bundle in use, None before the first is ready."""
        return self._place.bundle

    @property
    def engine(self) -> str | None:
        """Provider and precision in use, None before the first is ready."""
        return self._place.engine

    @property
    def is_running(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def queued(self) -> int:
        """Parts that wait or are inspected."""
        return len(self._queue) + (self._place.ticket is not None)

    @property
    def silent_s(self) -> float:
        """Seconds since the thread looked after its parts: about 1 at most while all is well."""
        return time.monotonic() - self._turned

    def submit(self, part: Part, on_event: Callable[[Event], None] | None = None) -> Ticket:
        """Accept a part; ``Ticket.done`` has its final record once that is on the disk.

        Raises:
            NotReadyError: No part is taken now.
            QueueFullError: As many wait as may, or the part's takt would end in the queue.
        """
        return self._admission.submit(part, on_event)

    def end_unseen(self, part: Part, reason: Reason, detail: str) -> Ticket:
        """Accept a part of which there is no image, and end it with the reason, at once.

        No queue is too full for it, and its ``image_sha256`` is empty. Raises NotReadyError when no
        part is taken now.
        """
        return self._admission.end_unseen(part, reason, detail)

    def use_products(self, products: NewProducts) -> Future[str | None]:
        """Have the worker take other products between two parts; the future has what is wrong.

        Also a worker that is started anew later has them then.
        """
        done = self._place.use_products(products)
        self._wake.ring()
        return done

    def drain(self, seconds: float) -> None:
        """Take no more parts, and stop once those that wait are done or the time is over."""
        until = time.monotonic() + seconds
        before = self._drain_until
        self._drain_until = until if before is None else min(before, until)
        self._life.enter("draining")
        self._wake.ring()

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._place.start()
            while not self._is_over:
                self._turn()
        except Exception as err:
            _LOG.exception("the line")
            self._fail(f"the line failed: {type(err).__name__}: {err}", FAILED)
        finally:
            self._place.end()
            self._end_rest("drained", "the daemon was told to stop")
            self._finals.retry(time.monotonic(), at_once=True)
            self._wake.close()
            self._life.enter("stopped")  # nothing after "failed"

    def _turn(self) -> None:
        self._wait()
        now = self._turned = time.monotonic()
        self._withdraw()
        self._expire(now)
        self._place.watch(now)
        if not self._is_over:
            self._place.dispatch(now)
        self._finals.retry(now)
        self._end_drain(now)

    def _wait(self) -> None:
        connection = self._place.connection
        sources: list[int | Connection] = [self._wake.fileno()]
        if connection is not None:
            sources.append(connection)
        for source in wait(sources, self._next_s()):
            if source is connection:
                self._place.receive()
            else:
                self._wake.hear()

    def _next_s(self) -> float:
        """Until something must be looked at without a message."""
        now = time.monotonic()
        moments = [now + _IDLE_S, self._queue.next_deadline(), self._drain_until]
        moments += self._place.moments()
        return max(0.0, min(moment for moment in moments if moment is not None) - now)

    def _withdraw(self) -> None:
        """Take out the parts whose acceptance is not on the disk: nobody could find a verdict."""
        unnoted = self._admission.unnoted
        while unnoted:
            number = unnoted.popleft()
            ticket = self._queue.take(number) or self._place.abandon(number)
            if ticket is not None:
                self._finals.withdraw(ticket)

    def _expire(self, now: float) -> None:
        """End the parts whose time is over."""
        for item in self._queue.take_late(now):
            self._finish(item, reason=item.ending[0], detail=item.ending[1])
        ticket = self._place.ticket
        if ticket is not None and ticket.is_late(now):
            self._place.abandon(ticket.number)
            self._finish(
                ticket, reason="takt_overrun", detail="the takt ended during the inspection"
            )

    def _fail(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        self._is_over = True
        self._life.enter("failed", message)
        self._end_rest("inspection_failed", message)

    def _end_drain(self, now: float) -> None:
        if self._drain_until is None or self._is_over:
            return
        if self.queued == 0 or now >= self._drain_until:
            self._is_over = True
            self._end_rest("drained", "the daemon was told to stop")

    def _end_rest(self, reason: Reason, detail: str) -> None:
        """End every part that is not ended, and tell who waits for a change of products."""
        tickets = self._queue.take_all()
        if (inspected := self._place.ticket) is not None:
            self._place.abandon(inspected.number)
            tickets.insert(0, inspected)
        for ticket in tickets:
            with suppress(Exception):  # was told to who waits; the others must end all the same
                self._finish(ticket, reason=reason, detail=detail)
        self._place.refuse_changes(detail)

    def _finish(
        self,
        ticket: Ticket,
        *,
        inspection: Inspection | None = None,
        golden: str | None = None,
        recipe: dict[str, Any] | None = None,
        reason: Reason | None = None,
        detail: str | None = None,
    ) -> None:
        record = final_record(
            ticket,
            inspection=inspection,
            golden_sha256=golden,
            recipe=recipe,
            bundle=self.bundle,
            engine=self.engine,
            reason=reason,
            detail=detail,
        )
        heat = None if inspection is None else inspection.anomaly_map
        try:
            self._finals.end(ticket, record, heat)
        except Exception as err:
            _LOG.exception("part %d", ticket.number)
            ticket.done.set_exception(DaemonError(f"part {ticket.number}: {err}"))
            raise
