"""The states of a daemon, from its start to its end, and how long each is expected to take."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, get_args

from adcopilot_edge.errors import NotReadyError

_LOG = logging.getLogger(__name__)

State = Literal[
    "checking", "loading", "warming-up", "self-testing", "ready", "draining", "stopped", "failed"
]
STATES: tuple[State, ...] = get_args(State)
_BEFORE_READY: tuple[State, ...] = ("checking", "loading", "warming-up", "self-testing")
# Before a daemon has started once, nobody knows how long it takes; these are told then, in seconds.
_FIRST_GUESS_S: dict[State, float] = {
    "checking": 2.0,
    "loading": 10.0,
    "warming-up": 5.0,
    "self-testing": 5.0,
}


class Life:
    """Where the daemon is in its life. May be shared by threads.

    durations_s: how long each state took the last time, where that is known.
    """

    def __init__(self, durations_s: dict[State, float] | None = None) -> None:
        self._expected = {**_FIRST_GUESS_S, **(durations_s or {})}
        self._lock = threading.Lock()
        self._listeners: list[Callable[[State], None]] = []
        self._state: State = "checking"
        self._reason: str | None = None
        self._since = time.monotonic()
        self.taken_s: dict[State, float] = {}
        self.was_ready = False

    @property
    def state(self) -> State:
        """The present state."""
        return self._state

    @property
    def reason(self) -> str | None:
        """Why it failed or is not ready, in words for the user; None otherwise."""
        return self._reason

    @property
    def is_ready(self) -> bool:
        """Whether parts are taken."""
        return self._state == "ready"

    @property
    def is_over(self) -> bool:
        """Whether no part will be taken any more."""
        return self._state in ("draining", "stopped", "failed")

    def enter(self, state: State, reason: str | None = None) -> None:
        """Go on to ``state``; after the end nothing but the end follows. Listeners are told."""
        with self._lock:
            if self._state in ("stopped", "failed") or self._state == state:
                return
            if self._state == "draining" and state not in ("stopped", "failed"):
                return
            now = time.monotonic()
            self.taken_s[self._state] = now - self._since
            self._state, self._reason, self._since = state, reason, now
            self.was_ready = self.was_ready or state == "ready"
            listeners = list(self._listeners)
        for listener in listeners:
            _tell(listener, state)

    def listen(self, listener: Callable[[State], None]) -> None:
        """Call ``listener`` with every state from now on, in the thread that enters it.

        No lock is held meanwhile, and what it raises is logged.
        """
        with self._lock:
            self._listeners.append(listener)

    def ready_in_s(self) -> float | None:
        """The seconds until it is ready, as far as the last start tells; None after the end."""
        if self.is_ready:
            return 0.0
        if self._state not in _BEFORE_READY:
            return None
        rest = _BEFORE_READY[_BEFORE_READY.index(self._state) :]
        spent = time.monotonic() - self._since
        return max(0.5, sum(self._expected[state] for state in rest) - spent)

    def refusal(self) -> NotReadyError:
        """The error of a request that this state does not take: which it is, and for how long."""
        left = self.ready_in_s()
        when = "" if left is None else f", ready in about {left:.0f} s"
        return NotReadyError(f"the daemon is {self._state}{when}", retry_after_s=left)

    def to_json(self) -> dict[str, Any]:
        """The state as ``/healthz`` tells it."""
        left = self.ready_in_s()
        return {
            "state": self._state,
            "reason": self._reason,
            "since_s": round(time.monotonic() - self._since, 1),
            "ready_in_s": None if left is None else round(left, 1),
        }


def _tell(listener: Callable[[State], None], state: State) -> None:
    try:
        listener(state)
    except Exception:  # one that fails must not keep the others in the dark
        _LOG.exception("who is told that the daemon is %s", state)
