"""The delivery of one output: its thread, its attempts, its alarms and counters."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from adcopilot_edge.errors import EdgeError, OutputRefusedError
from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.outputs.backoff import BackOff
from adcopilot_edge.runtime.daemon.outputs.message import Channel, Message
from adcopilot_edge.runtime.daemon.outputs.outbox import Outbox
from adcopilot_edge.runtime.daemon.outputs.settings import QueuedOutput

_LOG = logging.getLogger(__name__)
_CARE_S = 1.0  # between two looks at the queue
_AT_ONCE = 64  # records that one commit takes out of the outbox
_REFUSALS = 3  # of one record, until it is given up


@dataclass(slots=True)
class DeliveryCounters:
    """What happened since the start: records told, attempts that failed, records given up."""

    sent: int = 0
    failed: int = 0
    refused: int = 0
    dropped: int = 0


class Delivery:
    """Tells one output of what waits in its outbox, in order, each until it is confirmed.

    A record leaves the disk only then. An outage stops nothing but this output: attempts go on with
    growing pauses, and what waited is told in order when it is over.
    """

    def __init__(
        self, settings: QueuedOutput, outbox: Outbox, channel: Channel, alarms: Alarms
    ) -> None:
        self.name = settings.name
        self.counters = DeliveryCounters()
        self.waiting = 0
        self.problem: str | None = None
        self._settings = settings
        self._outbox = outbox
        self._channel = channel
        self._alarms = alarms
        self._back_off = BackOff(settings.retry_max_s)
        self._given_up_before = outbox.given_up()
        self._told: set[int] = set()  # confirmed by the output, and still on the disk
        self._refused: tuple[int, int] = (0, 0)  # a part, and how often it was refused
        self._retry_at = 0.0
        self._care_at = 0.0
        self._wake = threading.Event()
        self._is_ending = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"output {self.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something to tell; may be called from any thread."""
        self._wake.set()

    def end(self) -> None:
        """Tell what waits if that goes at once, then stop; does not wait for it."""
        self._is_ending.set()
        self._wake.set()

    def join(self, seconds: float) -> bool:
        """Wait for the end of the thread; whether it has ended."""
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """Stop now; what waits stays on the disk."""
        self._is_over.set()
        self._wake.set()
        self._channel.cancel()

    def to_json(self) -> dict[str, Any]:
        """How it goes, as ``/healthz`` tells it."""
        return {
            "kind": getattr(self._settings, "kind", None),
            "waiting": self.waiting,
            "sent": self.counters.sent,
            "failed": self.counters.failed,
            "refused": self.counters.refused,
            "dropped": self.counters.dropped,
            "given_up_before": self._given_up_before,
            "problem": self.problem,
        }

    def _run(self) -> None:
        while not self._is_over.is_set():
            is_last = self._is_ending.is_set()
            if not (is_last and self.problem is not None):
                self._work()
            if is_last:
                break
            self._wake.wait(self._pause())
            self._wake.clear()
        self._channel.close()

    def _pause(self) -> float:
        now = time.monotonic()
        due = self._care_at if self.problem is None else min(self._care_at, self._retry_at)
        return max(0.0, due - now)

    def _work(self) -> None:
        """Look after the queue and tell what waits, as far as both are due."""
        try:
            self._look_after()
            if time.monotonic() >= self._retry_at:
                self._channel.open()
                self._deliver()
                self._succeed()
        except EdgeError as err:
            self._fail(str(err))
        except Exception as err:  # one bad record must not end the thread
            _LOG.exception("output %s", self.name)
            self._fail(f"{type(err).__name__}: {err}")

    def _deliver(self) -> None:
        """Tell what waits until nothing does. Raises EdgeError at what can't be told now."""
        while not self._is_over.is_set():
            self._look_after()
            messages = self._outbox.oldest(_AT_ONCE)
            if not messages:
                return
            try:
                for message in messages:
                    if self._is_over.is_set():
                        break
                    self._tell(message)
            finally:
                self._forget_told()

    def _tell(self, message: Message) -> None:
        if message.number in self._told:
            return
        try:
            self._channel.send(message)
        except OutputRefusedError as err:
            self._note_refusal(message.number, err)
            return
        self._told.add(message.number)
        self.counters.sent += 1
        self._succeed()

    def _forget_told(self) -> None:
        """Take what is confirmed out of the outbox; what fails is tried again, not told again."""
        if self._told:
            self._outbox.confirm(self._told)
            self._told.clear()

    def _note_refusal(self, part: int, error: OutputRefusedError) -> None:
        """Give up a record that was refused often enough. Raises the error before that."""
        times = self._refused[1] + 1 if self._refused[0] == part else 1
        self._refused = (part, times)
        if times < _REFUSALS:
            raise error
        self._outbox.give_up(part)
        self.counters.refused += 1
        _LOG.error("output %s will not be told of part %d: %s", self.name, part, error)
        self._tell_given_up(f"the last is part {part}: {error}")

    def _look_after(self) -> None:
        """Count what waits, cut it to its limit, and see to the alarms, once in a while."""
        now = time.monotonic()
        if now < self._care_at:
            return
        self._care_at = now + _CARE_S
        backlog = self._outbox.backlog()
        self.waiting = backlog.waiting
        if backlog.waiting > self._settings.keep:
            removed = self._outbox.trim(self._settings.keep)
            self.waiting -= removed
            self.counters.dropped += removed
            _LOG.error("output %s: %d records went untold", self.name, removed)
            self._tell_given_up(f"more than {self._settings.keep} waited, and the oldest went")
        self._tell_lag(backlog.oldest_at)

    def _tell_given_up(self, why: str) -> None:
        """Raise the alarm that counts; it stays until the daemon is started again."""
        total = self.counters.dropped + self.counters.refused
        self._alarms.set(
            f"output:{self.name}:dropped",
            f"{total} records will not be told to {self.name}; the journal has them. {why}",
        )

    def _tell_lag(self, oldest_at: float | None) -> None:
        """Raise the alarm of an output that fails or lags, or end it."""
        late_s = 0.0 if oldest_at is None else time.time() - oldest_at
        waits = f"{self.waiting} records wait"
        if self.problem is not None:
            self._alarm(f"{self.problem}; {waits}")
        elif late_s > self._settings.alarm_after_s:
            self._alarm(f"{self.name} is behind by {late_s:.0f} s; {waits}")
        else:
            self._alarm(None)

    def _succeed(self) -> None:
        if self.problem is None:
            return
        self.problem = None
        self._retry_at = 0.0
        self._back_off.reset()
        self._care_at = 0.0

    def _fail(self, problem: str) -> None:
        if self._is_over.is_set():
            return
        self.counters.failed += 1
        self.problem = problem
        pause = self._back_off.take()
        self._retry_at = time.monotonic() + pause
        self._alarm(f"{problem}; {self.waiting} records wait")

    def _alarm(self, message: str | None) -> None:
        self._alarms.set(f"output:{self.name}", message)
