"""What is wrong at present, by name; raised and cleared by whoever looks after it."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from adcopilot_edge.runtime.daemon.part import iso_time

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One thing that is wrong. since: by the wall clock. stops_line: no part is accepted."""

    name: str
    message: str
    since: float
    stops_line: bool

    def to_json(self) -> dict[str, Any]:
        """The alarm as ``/healthz`` tells it."""
        return {
            "name": self.name,
            "message": self.message,
            "since": iso_time(self.since),
            "stops_line": self.stops_line,
        }


class Alarms:
    """The alarms that are raised. May be shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._raised: dict[str, Alarm] = {}

    def set(self, name: str, message: str | None, *, stops_line: bool = False) -> None:
        """Raise the alarm ``name``, or clear it where the message is None."""
        with self._lock:
            before = self._raised.get(name)
            if message is None:
                if self._raised.pop(name, None) is not None:
                    _LOG.warning("alarm %s is over", name)
                return
            since = time.time() if before is None else before.since
            self._raised[name] = Alarm(
                name=name, message=message, since=since, stops_line=stops_line
            )
        if before is None:
            _LOG.error("alarm %s: %s", name, message)

    def all(self) -> list[Alarm]:
        """Those raised now, by name."""
        with self._lock:
            return [self._raised[name] for name in sorted(self._raised)]

    def stopping(self) -> str | None:
        """Why no part may be accepted, or None."""
        return next((alarm.message for alarm in self.all() if alarm.stops_line), None)
