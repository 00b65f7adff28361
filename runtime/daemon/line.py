"""The line: accepts parts, has them inspected one after another, and ends each with one record.

One thread decides everything, so that no part can end twice. A part whose time runs out is
``uncertain`` at that moment, wherever it is; so is one whose worker hangs or dies.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Protocol

from adcopilot_edge.errors import JournalError, NotReadyError, QueueFullError
from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.life import Life
from adcopilot_edge.runtime.daemon.messages import (
    Done,
    Entered,
    Job,
    NewProducts,
    ProductSetup,
    ProductsTaken,
    Ready,
    Refused,
    Told,
)
from adcopilot_edge.runtime.daemon.pace import InspectionPace
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part, Reason
from adcopilot_edge.runtime.daemon.restarts import RestartBudget
from adcopilot_edge.runtime.daemon.ticket import Counters, Ticket, final_record
from adcopilot_edge.runtime.daemon.worker import Worker
from adcopilot_edge.runtime.stream import Event
from adcopilot_edge.types import FloatArray, Inspection, Task

_LOG = logging.getLogger(__name__)
_IDLE_S = 1.0
_ALARM_RETRY_S = 5.0


class ImageKeeper(Protocol):
    """Keeps images by policy."""

    def keep(self, record: FinalRecord, image: bytes, anomaly_map: FloatArray | None) -> str | None:
        """Where the image was kept, or None; its map is kept beside it."""
        ...


class Line:
    """Takes parts and ends each with one final record.

    on_final: called with every final record and its part once the record is on the disk, in the
    journal's thread: it must be quick. outputs_of: which outboxes a part's record goes to.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        life: Life,
        worker: Worker,
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
        self.bundle: str | None = None
        self.engine: str | None = None
        self.exit_code = 0
        self._journal = journal
        self._life = life
        self._worker = worker
        self._images = images
        self._alarms = alarms
        self._queue_size = queue_size
        self._stuck_after_s = stuck_after_s
        self._budget = RestartBudget(restarts_per_hour)
        self._outputs_of = outputs_of
        self._on_final = on_final
        self._lock = threading.Lock()
        self._pending: deque[Ticket] = deque()
        self._current: Ticket | None = None
        self._abandoned: int | None = None  # a part that is final while its inspection goes on
        self._products: list[tuple[NewProducts, Future[str | None]]] = []
        self._products_in_hand: Future[str | None] | None = None
        self._is_worker_ready = False
        self._job_started = 0.0
        self._drain_until: float | None = None
        self._is_over = False
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="line", daemon=True)

    def start(self) -> None:
        """Start the worker and the thread; ``Life`` tells when parts are taken."""
        self._worker.start()
        self._thread.start()

    @property
    def queued(self) -> int:
        """Parts that wait or are inspected."""
        return len(self._pending) + (self._current is not None)

    @property
    def products(self) -> Mapping[str, ProductSetup]:
        """The products as the worker has them, with the goldens in use."""
        return self._worker.setup.products

    def submit(self, part: Part, on_event: Callable[[Event], None] | None = None) -> Ticket:
        """Accept a part; ``Ticket.done`` has its final record once that is on the disk.

        Raises:
            NotReadyError: No part is taken now.
            QueueFullError: As many wait as may.
        """
        sha256 = hashlib.sha256(part.image).hexdigest()
        with self._lock:
            if not self._life.is_ready:
                self.counters.refused_not_ready += 1
                raise self._not_ready()
            if (alarm := self._alarms.stopping()) is not None:
                self.counters.refused_not_ready += 1
                raise NotReadyError(alarm, retry_after_s=_ALARM_RETRY_S)
            if len(self._pending) + (self._current is not None) > self._queue_size:
                self.counters.refused_full += 1
                after = self.pace.expected_s() * len(self._pending)
                raise QueueFullError(
                    f"{self._queue_size} parts wait already; this one was not accepted",
                    retry_after_s=max(0.05, after),
                )
            now = time.monotonic()
            ticket = Ticket(
                number=self._journal.next_id(),
                part=part,
                received_at=time.time(),
                accepted=now,
                deadline=None if part.takt_ms is None else now + part.takt_ms / 1000,
                sha256=sha256,
                on_event=on_event,
            )
            self._journal.accept(ticket.number, part, ticket.received_at, sha256)
            self._pending.append(ticket)
            self.counters.accepted += 1
        self._wake()
        return ticket

    def use_products(self, products: NewProducts) -> Future[str | None]:
        """Have the worker take other products between two parts; the future has what is wrong."""
        done: Future[str | None] = Future()
        with self._lock:
            self._products.append((products, done))
            self._worker.setup = self._worker.setup.with_products(products.products)
        self._wake()
        return done

    def drain(self, seconds: float) -> None:
        """Take no more parts, and stop once those that wait are done or the time is over."""
        self._drain_until = time.monotonic() + seconds
        self._life.enter("draining")
        self._wake()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _not_ready(self) -> NotReadyError:
        left = self._life.ready_in_s()
        when = "" if left is None else f", ready in about {left:.0f} s"
        return NotReadyError(f"the daemon is {self._life.state}{when}", retry_after_s=left)

    def _wake(self) -> None:
        os.write(self._wake_write, b"x")

    def _run(self) -> None:
        while not self._is_over:
            self._wait()
            now = time.monotonic()
            self._expire(now)
            self._watch(now)
            self._dispatch()
            self._end_drain(now)
        self._worker.stop()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wait(self) -> None:
        connection = self._worker.connection
        sources: list[int | Connection] = [self._wake_read]
        if connection is not None:
            sources.append(connection)
        for source in wait(sources, self._next_s()):
            if source is connection:
                self._receive()
            else:
                os.read(self._wake_read, 4096)

    def _next_s(self) -> float:
        """Until something must be looked at without a message."""
        with self._lock:
            moments = [item.deadline for item in self._pending if item.deadline is not None]
        if self._current is not None and self._current.deadline is not None:
            moments.append(self._current.deadline)
        if self._is_busy:
            moments.append(self._job_started + self._stuck_after_s)
        if self._drain_until is not None:
            moments.append(self._drain_until)
        return min(_IDLE_S, max(0.0, min(moments, default=_IDLE_S * 2e9) - time.monotonic()))

    @property
    def _is_busy(self) -> bool:
        return self._current is not None or self._abandoned is not None

    def _receive(self) -> None:
        message = self._worker.receive()
        if message is None:
            self._replace_worker("worker_died", "the process of the inspection ended by itself")
        elif isinstance(message, Entered):
            if not self._life.is_ready:
                self._life.enter(message.state)
        elif isinstance(message, Ready):
            self.bundle, self.engine = message.bundle, message.engine
            self._is_worker_ready = True
            self._life.enter("ready")
        elif isinstance(message, Refused):
            self._fail(message.message, message.exit_code)
        elif isinstance(message, ProductsTaken):
            assert self._products_in_hand is not None
            self._products_in_hand.set_result(message.problem)
            self._products_in_hand = None
        elif isinstance(message, Told):
            ticket = self._current
            if ticket is not None and ticket.number == message.number and ticket.on_event:
                ticket.on_event(message.event)
        else:
            self._take_result(message)

    def _take_result(self, done: Done) -> None:
        ticket = self._current
        if ticket is None or ticket.number != done.number:
            self._abandoned = None
            self.counters.late += 1
            return
        self._current = None
        self.pace.learn(time.monotonic() - self._job_started)
        if done.inspection is not None:
            self._finish(ticket, inspection=done.inspection, golden=done.golden_sha256)
            return
        reason: Reason = "image_unusable" if done.is_image_fault else "inspection_failed"
        self._finish(ticket, reason=reason, detail=done.problem)

    def _expire(self, now: float) -> None:
        """End the parts whose time is over."""
        with self._lock:
            late = [item for item in self._pending if item.is_late(now)]
            for item in late:
                self._pending.remove(item)
        for item in late:
            self._finish(item, reason="takt_overrun", detail="the takt ended in the queue")
        current = self._current
        if current is not None and current.is_late(now):
            self._current, self._abandoned = None, current.number
            self._finish(
                current, reason="takt_overrun", detail="the takt ended during the inspection"
            )

    def _watch(self, now: float) -> None:
        if self._is_busy and now - self._job_started > self._stuck_after_s:
            self._replace_worker(
                "worker_stuck", f"the inspection took more than {self._stuck_after_s:g} s"
            )

    def _dispatch(self) -> None:
        if not self._is_worker_ready or self._is_busy or self._products_in_hand is not None:
            return
        with self._lock:
            if self._products:
                message, self._products_in_hand = self._products.pop(0)
                ticket = None
            elif self._pending:
                ticket = self._current = self._pending.popleft()
            else:
                return
        try:
            self._worker.send(message if ticket is None else self._job(ticket))
        except OSError:
            self._replace_worker("worker_died", "the process of the inspection was gone")

    def _job(self, ticket: Ticket) -> Job:
        now = self._job_started = ticket.started = time.monotonic()
        part = ticket.part
        tasks: tuple[Task, ...] | None = part.tasks  # type: ignore[assignment]
        return Job(
            number=ticket.number,
            image=part.image,
            product=part.product,
            tasks=tasks,
            ask=part.ask,
            takt_ms=None
            if ticket.deadline is None
            else max(1.0, 1000 * (ticket.deadline - now) - self.pace.overhead_ms),
            has_events=ticket.on_event is not None,
        )

    def _replace_worker(self, reason: Reason, detail: str) -> None:
        """End the worker; its part is uncertain, and a new one starts if the budget allows."""
        _LOG.error("%s; the worker is started anew", detail)
        self._worker.kill()
        self._is_worker_ready = False
        self._abandoned = None
        if self._products_in_hand is not None:
            self._products_in_hand.set_result(detail)
            self._products_in_hand = None
        ticket, self._current = self._current, None
        if ticket is not None:
            self._finish(ticket, reason=reason, detail=detail)
        self.counters.restarts += 1
        if not self._budget.take(time.monotonic()):
            self._fail(f"{detail}; and it was started anew {self._budget} before", 7)
            return
        if self._life.is_ready:
            self._life.enter("loading", detail)
        self._worker.start()

    def _fail(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        self._life.enter("failed", message)
        self._end_pending("inspection_failed", message)
        self._is_over = True

    def _end_drain(self, now: float) -> None:
        if self._drain_until is None or self._is_over:
            return
        if self.queued == 0 or now >= self._drain_until:
            ticket, self._current = self._current, None
            if ticket is not None:
                self._finish(ticket, reason="drained", detail="the daemon was told to stop")
            self._end_pending("drained", "the daemon was told to stop")
            self._is_over = True
            self._life.enter("stopped")

    def _end_pending(self, reason: Reason, detail: str) -> None:
        with self._lock:
            tickets = [*self._pending]
            self._pending.clear()
        for ticket in tickets:
            self._finish(ticket, reason=reason, detail=detail)

    def _finish(
        self,
        ticket: Ticket,
        *,
        inspection: Inspection | None = None,
        golden: str | None = None,
        reason: Reason | None = None,
        detail: str | None = None,
    ) -> None:
        """Write the final record, then tell who waits."""
        record = final_record(
            ticket,
            inspection=inspection,
            golden_sha256=golden,
            bundle=self.bundle,
            engine=self.engine,
            reason=reason,
            detail=detail,
        )
        heat = None if inspection is None else inspection.anomaly_map
        kept = self._images.keep(record, ticket.part.image, heat)
        record = replace(record, image_file=kept)
        written = self._journal.finish(record, self._outputs_of(ticket.part))
        written.add_done_callback(lambda future: self._tell(ticket, record, future))

    def _tell(self, ticket: Ticket, record: FinalRecord, written: Future[bool]) -> None:
        if (error := written.exception()) is not None:
            ticket.done.set_exception(error)
            return
        if not written.result():
            ticket.done.set_exception(
                JournalError(f"part {record.id} could not be noted when it was accepted")
            )
            return
        self.counters.count(record)
        ticket.done.set_result(record)
        self._on_final(record, ticket.part)
