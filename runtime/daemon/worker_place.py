"""The worker at its work: what it has in hand, when that takes too long, and who comes after it.

All of it but ``use_products`` is for the line's thread.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any, Protocol

from adcopilot_edge.runtime.daemon.in_hand import InHand, ProductChange
from adcopilot_edge.runtime.daemon.life import Life
from adcopilot_edge.runtime.daemon.messages import (
    Done,
    Entered,
    Job,
    NewProducts,
    ProductsTaken,
    Ready,
    Refused,
    Told,
)
from adcopilot_edge.runtime.daemon.pace import InspectionPace
from adcopilot_edge.runtime.daemon.part import Reason
from adcopilot_edge.runtime.daemon.restarts import RestartBudget
from adcopilot_edge.runtime.daemon.ticket import Counters, Ticket, job_of
from adcopilot_edge.runtime.daemon.worker import WorkerHandle
from adcopilot_edge.types import Inspection

_LOG = logging.getLogger(__name__)
FAILED = 7  # the exit code of a daemon whose worker can't be kept at work


class Finish(Protocol):
    """Ends a part with its inspection, or with the reason for none."""

    def __call__(
        self,
        ticket: Ticket,
        *,
        inspection: Inspection | None = None,
        golden: str | None = None,
        recipe: dict[str, Any] | None = None,
        reason: Reason | None = None,
        detail: str | None = None,
    ) -> None:
        """End ``ticket``."""
        ...


class WorkerPlace:
    """Keeps one worker at work. take: the next part, or None. fail: ends the daemon.

    bundle, engine: what the worker said when it was ready.
    """

    def __init__(
        self,
        worker: WorkerHandle,
        *,
        life: Life,
        pace: InspectionPace,
        counters: Counters,
        stuck_after_s: float,
        restarts_per_hour: int,
        take: Callable[[], Ticket | None],
        finish: Finish,
        fail: Callable[[str, int], None],
    ) -> None:
        self.bundle: str | None = None
        self.engine: str | None = None
        self._worker = worker
        self._life = life
        self._pace = pace
        self._counters = counters
        self._stuck_after_s = stuck_after_s
        self._budget = RestartBudget(restarts_per_hour)
        self._take = take
        self._finish = finish
        self._fail = fail
        self._in_hand: InHand | None = None
        self._changes: deque[ProductChange] = deque()
        self._is_refusing: str | None = None

    @property
    def connection(self) -> Connection | None:
        """What is readable when the worker says something, None without a worker."""
        return self._worker.connection

    @property
    def is_busy(self) -> bool:
        """Whether the worker has something in hand; its start, too."""
        return self._in_hand is not None

    @property
    def ticket(self) -> Ticket | None:
        """The part that is inspected and not ended yet."""
        in_hand = self._in_hand
        return None if in_hand is None else in_hand.ticket

    def moments(self) -> list[float | None]:
        """When to look again at the latest, by the monotonic clock."""
        if self._in_hand is None:
            return []
        ticket = self._in_hand.ticket
        return [self._in_hand.until, None if ticket is None else ticket.deadline]

    def use_products(self, message: NewProducts) -> Future[str | None]:
        """Have the worker take other products; from any thread. The future has what is wrong."""
        change = ProductChange.of(message)
        self._changes.append(change)
        if self._is_refusing is not None:
            change.end(self._is_refusing)
        return change.done

    def refuse_changes(self, problem: str) -> None:
        """No products are taken any more."""
        self._is_refusing = problem
        if self._in_hand is not None and self._in_hand.change is not None:
            self._in_hand.change.end(problem)
        while self._changes:
            self._changes.popleft().end(problem)

    def start(self) -> None:
        """Start a worker."""
        self._in_hand = InHand.start(time.monotonic())
        try:
            self._worker.start()
        except OSError as err:
            self._replace("worker_died", f"no process can be started: {err.strerror}")

    def end(self) -> None:
        """Have an idle worker end itself; end one that is not idle."""
        if self._in_hand is None:
            self._worker.stop()
        else:
            self._worker.kill()

    def abandon(self, number: int) -> Ticket | None:
        """Let go of the part of that number, whose inspection goes on; None if it is not here."""
        in_hand = self._in_hand
        if in_hand is None or in_hand.ticket is None or in_hand.number != number:
            return None
        ticket, in_hand.ticket = in_hand.ticket, None
        return ticket

    def watch(self, now: float) -> None:
        """Replace a worker that is stuck."""
        if self._in_hand is not None and now > self._in_hand.until:
            self._replace("worker_stuck", str(self._in_hand))

    def dispatch(self, now: float) -> None:
        """Give an idle worker other products, or the next part."""
        if self._in_hand is not None:
            return
        message: Job | NewProducts
        if self._changes:
            change = self._changes.popleft()
            self._in_hand = InHand.products(change, now, self._stuck_after_s)
            message = change.message
        elif (ticket := self._take()) is not None:
            self._in_hand = InHand.part(ticket, now, self._stuck_after_s)
            message = job_of(ticket, now)
        else:
            return
        try:
            self._worker.send(message)
        except OSError:
            self._replace("worker_died", "the process of the inspection was gone")

    def receive(self) -> None:
        """Take what the worker says."""
        message = self._worker.receive()
        if message is None:
            self._replace("worker_died", "the process of the inspection ended by itself")
        elif isinstance(message, Entered):
            if not self._life.is_ready:
                self._life.enter(message.state)
        elif isinstance(message, Ready):
            self.bundle, self.engine = message.bundle, message.engine
            self._in_hand = None
            self._life.enter("ready")
        elif isinstance(message, Refused):
            self._fail(message.message, message.exit_code)
        elif isinstance(message, ProductsTaken):
            self._take_products(message.problem)
        elif isinstance(message, Told):
            self._pass_on(message)
        else:
            self._take_result(message)

    def _take_products(self, problem: str | None) -> None:
        in_hand, self._in_hand = self._in_hand, None
        assert in_hand is not None
        assert in_hand.change is not None
        if problem is None:
            products = in_hand.change.message.products
            self._worker.setup = self._worker.setup.with_products(products)
        in_hand.change.end(problem)

    def _pass_on(self, told: Told) -> None:
        ticket = self.ticket
        if ticket is not None and ticket.number == told.number:
            ticket.tell(told.event)

    def _take_result(self, done: Done) -> None:
        in_hand = self._in_hand
        assert in_hand is not None
        assert in_hand.number == done.number
        self._in_hand = None
        self._pace.learn(time.monotonic() - in_hand.since)
        if in_hand.ticket is None:
            self._counters.late += 1
        elif done.inspection is not None:
            self._finish(
                in_hand.ticket,
                inspection=done.inspection,
                golden=done.golden_sha256,
                recipe=done.recipe,
            )
        else:
            reason: Reason = "image_unusable" if done.is_image_fault else "inspection_failed"
            if done.is_question_fault:
                reason = "question_unusable"
            self._finish(in_hand.ticket, recipe=done.recipe, reason=reason, detail=done.problem)

    def _replace(self, reason: Reason, detail: str) -> None:
        """End the worker; its part is uncertain, and a new one starts if the budget allows."""
        self._worker.kill()
        in_hand, self._in_hand = self._in_hand, None
        if in_hand is not None and in_hand.change is not None:
            in_hand.change.end(detail)
        if in_hand is not None and in_hand.ticket is not None:
            self._finish(in_hand.ticket, reason=reason, detail=detail)
        if not self._budget.take(time.monotonic()):
            self._fail(f"{detail}; and it was started anew {self._budget} before", FAILED)
            return
        _LOG.error("%s; the worker is started anew", detail)
        self._counters.restarts += 1
        self._life.enter("loading", detail)
        self.start()
