"""What a PLC reads: the present state, in a form that says reject whenever something is wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from adcopilot_edge.runtime.daemon.life import STATES, State
from adcopilot_edge.runtime.daemon.part import FinalRecord
from adcopilot_edge.types import Verdict

BEAT_S = 0.5
_FRESH_S = 3 * BEAT_S
VERDICT_CODES: dict[Verdict | None, int] = {None: 0, "normal": 1, "anomaly": 2, "uncertain": 3}
STATE_CODES: dict[State, int] = {state: code for code, state in enumerate(STATES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How the daemon is at this moment. queued: parts that wait or are inspected."""

    state: State
    is_ready: bool
    queued: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """All that a PLC reads, of one moment.

    heartbeat: counts up twice a second while parts are taken, 0..65535 and around. part: of the
    last verdict, 0 before the first one. verdict: the last one, None before it. score: 0..1, or
    None. reject: whether the part must go; it alone says so, for it also falls back.
    """

    heartbeat: int
    state: State
    is_ready: bool
    queued: int
    part: int
    verdict: Verdict | None
    score: float | None
    reject: bool


class SignalBoard:
    """The signals of one output. May be shared by threads.

    probe: asked anew at every reading. hold_s: how long a ``normal`` counts, None until the next
    verdict. A part passes only by a ``normal`` that counts, from a daemon that takes parts and
    whose heart beats.
    """

    def __init__(
        self,
        probe: Callable[[], Probe],
        *,
        hold_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probe = probe
        self._hold_s = hold_s
        self._clock = clock
        self._lock = threading.Lock()
        self._heartbeat = 0
        self._beaten_at: float | None = None
        self._last: FinalRecord | None = None
        self._told_at = 0.0
        self.num_told = 0

    def tell(self, record: FinalRecord) -> None:
        """Take in the verdict of a part."""
        with self._lock:
            self._last, self._told_at = record, self._clock()
            self.num_told += 1

    def withhold(self) -> None:
        """Take the last verdict back: a part has passed that this output is not told of."""
        with self._lock:
            self._last = None

    def beat(self) -> None:
        """Count the heartbeat on, unless no part is taken."""
        if not self._probe().is_ready:
            return
        with self._lock:
            self._heartbeat = (self._heartbeat + 1) % 65_536
            self._beaten_at = self._clock()

    def read(self) -> Signals:
        """The signals of this moment."""
        probe = self._probe()
        with self._lock:
            now, last = self._clock(), self._last
            is_fresh = self._beaten_at is not None and now - self._beaten_at <= _FRESH_S
            counts = self._hold_s is None or now - self._told_at <= self._hold_s
            verdict = None if last is None else last.verdict
            passes = verdict == "normal" and counts and is_fresh and probe.is_ready
            return Signals(
                heartbeat=self._heartbeat,
                state=probe.state,
                is_ready=probe.is_ready,
                queued=probe.queued,
                part=0 if last is None else last.id,
                verdict=verdict,
                score=None if last is None else last.score,
                reject=not passes,
            )
