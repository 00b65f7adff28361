"""What happens, told to whoever looks: final records, reviews, and the state of the daemon.

Each reader has a bounded buffer. One that does not keep up is dropped, and neither the line nor
another reader notices.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from adcopilot_edge.errors import NotReadyError
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part, iso_time
from adcopilot_edge.runtime.daemon.record_pictures import RecordPictures
from adcopilot_edge.runtime.daemon.record_search import newest
from adcopilot_edge.runtime.daemon.station import StationDaemon

_NUM_RECENT = 50
_NUM_LATENCIES = 1000
_MAX_READERS = 32
_BUFFER = 200  # events; the page is told 50 records at once and then a few a second
_STATE_AGE_S = 0.9
_RETRY_S = 5.0


class Reader:
    """One reader's buffer of events, read in the event loop that made it."""

    def __init__(self, first: list[bytes], size: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: deque[bytes] = deque(first)
        self._size = size + len(first)
        self._wake = asyncio.Event()
        self.is_dropped = False

    def tell(self, event: bytes) -> None:
        """Add an event, or drop the reader when its buffer is full; from any thread."""
        with suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(self._add, event)

    async def next(self, timeout_s: float) -> bytes | None:
        """The next event; None when none came in time, or when the reader was dropped."""
        if not self._events and not self.is_dropped:
            self._wake.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout_s)
        return self._events.popleft() if self._events and not self.is_dropped else None

    def _add(self, event: bytes) -> None:
        if len(self._events) >= self._size:
            self.is_dropped = True
            self._events.clear()
        elif not self.is_dropped:
            self._events.append(event)
        self._wake.set()


class LiveFeed:
    """The feed of one daemon."""

    def __init__(
        self, daemon: StationDaemon, pictures: RecordPictures, *, buffer: int = _BUFFER
    ) -> None:
        self._pictures = pictures
        self._daemon = daemon
        self._buffer = buffer
        self._lock = threading.Lock()
        self._readers: set[Reader] = set()
        self._recent: deque[dict[str, Any]] = deque(
            reversed(newest(daemon.journal, _NUM_RECENT)), maxlen=_NUM_RECENT
        )
        self._latencies: deque[float] = deque(maxlen=_NUM_LATENCIES)
        self._state: dict[str, Any] = {}
        self._state_at = float("-inf")
        daemon.on_final(self._on_final)

    @property
    def num_readers(self) -> int:
        """How many read at present."""
        return len(self._readers)

    def open(self) -> Reader:
        """A new reader, who is told the state and the last records first.

        Raises NotReadyError when too many read already.
        """
        state = event_bytes("state", self.state())
        with self._lock:
            if len(self._readers) >= _MAX_READERS:
                raise NotReadyError(
                    f"{_MAX_READERS} pages look at the line already; close one of them",
                    retry_after_s=_RETRY_S,
                )
            recent = map(self._pictures.told, self._recent)
            first = [state, *(event_bytes("record", record) for record in recent)]
            reader = Reader([*first, event_bytes("caught-up", {})], self._buffer)
            self._readers.add(reader)
        return reader

    def close(self, reader: Reader) -> None:
        """Tell a reader no more."""
        with self._lock:
            self._readers.discard(reader)

    def tell(self, kind: str, content: dict[str, Any]) -> None:
        """Tell all readers of an event."""
        self._send(event_bytes(kind, content))

    def tell_review(self, review: dict[str, Any], *, image_file: str | None = None) -> None:
        """Tell all readers what somebody said of a part, and remember it with its record.

        image_file: where the image is kept for it from now on, None where nothing changed.
        """
        with self._lock:
            for record in self._recent:
                if record["id"] == review["part"]:
                    record["review"] = review
                    record["image_file"] = image_file or record["image_file"]
        self.tell("review", review)

    def state(self) -> dict[str, Any]:
        """What ``/healthz`` tells, the stations, and the latency; at most a second old.

        latency_ms: from the acceptance of a part to its record, over the last 1000 parts since the
        start; its values are None before the first.
        """
        with self._lock:
            if time.monotonic() - self._state_at < _STATE_AGE_S:
                return self._state
            latencies = sorted(self._latencies)
        daemon = self._daemon
        state = {
            **daemon.to_json(),
            "at": iso_time(time.time()),
            "stations": [
                {"name": at.name, "product": product, "takt_ms": _takt_ms(daemon, at.name, product)}
                for at in daemon.settings.stations
                for product in (daemon.product_of(at.name),)
            ],
            "latency_ms": {
                "p50": _quantile(latencies, 0.5),
                "p99": _quantile(latencies, 0.99),
                "parts": len(latencies),
            },
        }
        with self._lock:
            self._state, self._state_at = state, time.monotonic()
        return state

    def _on_final(self, record: FinalRecord, part: Part) -> None:
        self._pictures.recent.take(record, part)
        told = {**record.to_json(), "review": None}
        with self._lock:
            self._recent.append(told)
            self._latencies.append(1000 * (record.finished_at - record.received_at))
        self._send(event_bytes("record", self._pictures.told(told)))

    def _send(self, event: bytes) -> None:
        with self._lock:
            readers = list(self._readers)
        for reader in readers:
            reader.tell(event)


def event_bytes(kind: str, content: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"event: {kind}\ndata: {json.dumps(content)}\n\n".encode()


def _takt_ms(daemon: StationDaemon, station: str, product: str) -> float | None:
    recipe = daemon.settings.product(product)
    return recipe.takt_ms or daemon.settings.station(station).takt_ms


def _quantile(ordered: list[float], share: float) -> float | None:
    """The value that ``share`` of them do not exceed, in milliseconds; None of nothing."""
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)
