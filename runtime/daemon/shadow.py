"""A second bundle that inspects a share of the parts after the line did, when the line has slack.

It never delays the line: a part is taken only while nothing waits, at most one waits here, and
that one is dropped when the line has something to do again. What happens to its process is an
alarm, and nothing else.
"""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Protocol

from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.messages import (
    Done,
    Job,
    NewProducts,
    ProductSetup,
    ProductsTaken,
    Ready,
    Refused,
    WorkerSetup,
)
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part
from adcopilot_edge.runtime.daemon.restarts import RestartBudget
from adcopilot_edge.runtime.daemon.station_file import ShadowSettings, StationFile
from adcopilot_edge.runtime.daemon.worker import WorkerHandle

_LOG = logging.getLogger(__name__)
_ALARM = "shadow"
_RESTARTS_PER_HOUR = 3
_REST_S = 60.0  # after the line had no time left for a part
_LOOK_S = 1.0


class Slack(Protocol):
    """What it asks of the line."""

    @property
    def queued(self) -> int:
        """Parts that wait or are inspected."""
        ...


@dataclass(frozen=True, slots=True)
class _Offer:
    record: FinalRecord
    part: Part


class Shadow:
    """Has a second worker inspect parts, and notes what it says in the table ``shadow``.

    share: of the parts that the line decided while nothing else waited.
    """

    def __init__(
        self,
        *,
        worker: WorkerHandle,
        share: float,
        stuck_after_s: float,
        line: Slack,
        journal: Journal,
        alarms: Alarms,
    ) -> None:
        self.share = share
        self.bundle: str | None = None
        self.is_running = False
        self.dropped = 0
        self._worker = worker
        self._stuck_after_s = stuck_after_s
        self._line = line
        self._journal = journal
        self._alarms = alarms
        self._budget = RestartBudget(_RESTARTS_PER_HOUR)
        self._rng = random.Random()
        self._lock = threading.Lock()
        self._waiting: _Offer | None = None
        self._products: Mapping[str, ProductSetup] | None = None
        self._in_hand: _Offer | None = None
        self._takes_products = False
        self._started = 0.0
        self._rests_until = 0.0
        self._is_over = False
        self._is_closed = False
        self._is_ready = False
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Start its worker, once; a call after that does nothing."""
        if not self.is_running and not self._thread.is_alive() and not self._is_over:
            self.is_running = True
            self._thread.start()

    def stop(self) -> None:
        """End its worker and wait for that."""
        with self._lock:
            if self._is_closed:
                return
            self._is_over = True
            self._wake()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            self._is_closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)

    def offer(self, record: FinalRecord, part: Part) -> None:
        """Take a part that the line has ended, if its turn comes and the line has slack; quick."""
        if record.reason == "takt_overrun":
            with self._lock:
                self._rests_until = time.monotonic() + _REST_S
                self._drop()
        if record.reason is not None or part.product not in self._worker.setup.products:
            return
        if self._rng.random() >= self.share:
            return
        with self._lock:
            if self._is_over:
                return
            if not self._is_ready or not self._has_slack() or self._waiting is not None:
                self.dropped += 1
                return
            self._waiting = _Offer(record, part)
            self._wake()

    def use_products(self, products: Mapping[str, ProductSetup]) -> None:
        """Go by other products from the next part on."""
        with self._lock:
            self._products = products
            self._drop()
            self._worker.setup = self._worker.setup.with_products(products)
            self._wake()

    def _drop(self) -> None:
        self.dropped += self._waiting is not None
        self._waiting = None

    def _has_slack(self) -> bool:
        return self._line.queued == 0 and time.monotonic() >= self._rests_until

    def _wake(self) -> None:
        if not self._is_closed:
            os.write(self._wake_write, b"x")

    def _run(self) -> None:
        self._worker.start()
        while not self._is_over:
            self._wait()
            if self._is_over:
                break
            if self._is_busy and time.monotonic() - self._started > self._stuck_after_s:
                self._start_anew(f"hung for more than {self._stuck_after_s:g} s")
            self._dispatch()
        self.is_running = self._is_ready = False
        self._worker.kill()

    @property
    def _is_busy(self) -> bool:
        return self._in_hand is not None or self._takes_products

    def _wait(self) -> None:
        sources: list[int | Connection] = [self._wake_read]
        if self._worker.connection is not None:
            sources.append(self._worker.connection)
        for source in wait(sources, _LOOK_S if self._is_busy else None):
            if source == self._wake_read:
                os.read(self._wake_read, 4096)
            else:
                self._receive()

    def _receive(self) -> None:
        message = self._worker.receive()
        if message is None:
            self._start_anew("ended by itself")
        elif isinstance(message, Ready):
            self.bundle, self._is_ready = message.bundle, True
        elif isinstance(message, Refused):
            self._give_up(f"the shadow bundle can't be used: {message.message}")
        elif isinstance(message, ProductsTaken):
            self._takes_products = False
            if message.problem is not None:
                self._give_up(f"the shadow bundle can't take the products: {message.problem}")
        elif isinstance(message, Done):
            self._note(message)

    def _dispatch(self) -> None:
        if self._is_over or not self._is_ready or self._is_busy:
            return
        with self._lock:
            products, self._products = self._products, None
            if products is None and not self._has_slack():
                self._drop()
            offer = None
            if products is None:
                offer, self._waiting = self._waiting, None
        if products is None and offer is None:
            return
        self._started = time.monotonic()
        try:
            if products is not None:
                self._takes_products = True
                self._worker.send(NewProducts(products=products))
            elif offer is not None:
                self._in_hand = offer
                self._worker.send(_job(offer))
        except OSError:
            self._start_anew("was gone")

    def _note(self, done: Done) -> None:
        offer, self._in_hand = self._in_hand, None
        if offer is None or self.bundle is None:
            return
        found = done.inspection
        row = (
            *(offer.record.id, self.bundle, time.time()),
            None if found is None else found.verdict,
            None if found is None else round(found.anomaly_score, 6),
            None if found is None else found.verdict == offer.record.verdict,
            1000 * (time.monotonic() - self._started),
            done.problem,
        )
        self._alarms.set(_ALARM, None)

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO shadow VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

        self._journal.write(change)

    def _start_anew(self, what: str) -> None:
        self._worker.kill()
        with self._lock:
            self._drop()
        self._in_hand, self._takes_products, self._is_ready = None, False, False
        words = f"the process of the shadow bundle {what}"
        if not self._budget.take(time.monotonic()):
            self._give_up(f"{words}; it was started anew {self._budget} before, and is off now")
            return
        self._alarms.set(_ALARM, f"{words}; it is started anew")
        self._worker.start()

    def _give_up(self, message: str) -> None:
        self._alarms.set(_ALARM, message)
        self._is_over = True


def open_shadow(
    settings: StationFile,
    setup: WorkerSetup,
    open_worker: Callable[[WorkerSetup], WorkerHandle],
    line: Slack,
    journal: Journal,
    alarms: Alarms,
) -> Shadow | None:
    """The shadow of a station file, None where it has none. setup: of the line's worker."""
    if settings.shadow is None:
        return None
    return Shadow(
        worker=open_worker(shadow_setup(setup, settings.shadow)),
        share=settings.shadow.share,
        stuck_after_s=settings.daemon.stuck_after_s,
        line=line,
        journal=journal,
        alarms=alarms,
    )


def shadow_setup(line: WorkerSetup, shadow: ShadowSettings) -> WorkerSetup:
    """The setup of the shadow's worker: the line's products with another bundle."""
    return replace(
        line,
        bundle=shadow.bundle,
        provider=shadow.provider,
        threads=shadow.threads,
        nice=shadow.nice,
    )


def _job(offer: _Offer) -> Job:
    part = offer.part
    return Job(
        number=offer.record.id,
        image=part.image,
        product=part.product,
        tasks=(),  # verdicts are compared, and words take time
        ask=None,
        takt_ms=None,
    )
