"""An accepted part on its way through the line, and the record that it ends with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from adcopilot_edge.runtime.daemon.part import FinalRecord, Part, Reason
from adcopilot_edge.runtime.stream import Event
from adcopilot_edge.types import Inspection

_LOG = logging.getLogger(__name__)


def _promise() -> Future[FinalRecord]:
    """A future that its reader can't cancel: the record comes, whoever still waits for it."""
    promise: Future[FinalRecord] = Future()
    promise.set_running_or_notify_cancel()
    return promise


@dataclass(slots=True, kw_only=True)
class Ticket:
    """An accepted part on its way. deadline: by the monotonic clock, or None."""

    number: int
    part: Part
    received_at: float
    accepted: float
    deadline: float | None
    sha256: str
    done: Future[FinalRecord] = field(default_factory=_promise)
    on_event: Callable[[Event], None] | None = None
    started: float | None = None

    def is_late(self, now: float) -> bool:
        """Whether its time is over."""
        return self.deadline is not None and now >= self.deadline

    def tell(self, event: Event) -> None:
        """Tell whoever listens; one that fails is told no more, and the part goes on."""
        if self.on_event is None:
            return
        try:
            self.on_event(event)
        except Exception:
            _LOG.exception("part %d: its listener failed", self.number)
            self.on_event = None


@dataclass(slots=True, kw_only=True)
class Counters:
    """What happened since the start. late: results that came after their part was ended."""

    accepted: int = 0
    refused_full: int = 0
    refused_not_ready: int = 0
    late: int = 0
    restarts: int = 0
    by_verdict: dict[str, int] = field(default_factory=dict)
    by_reason: dict[str, int] = field(default_factory=dict)

    def count(self, record: FinalRecord) -> None:
        """Count a final record."""
        self.by_verdict[record.verdict] = self.by_verdict.get(record.verdict, 0) + 1
        if record.reason is not None:
            self.by_reason[record.reason] = self.by_reason.get(record.reason, 0) + 1


def final_record(
    ticket: Ticket,
    *,
    inspection: Inspection | None,
    golden_sha256: str | None,
    bundle: str | None,
    engine: str | None,
    reason: Reason | None,
    detail: str | None,
) -> FinalRecord:
    """The record of a part that ends now, with its inspection or with the reason for none."""
    part, now = ticket.part, time.monotonic()
    told = {} if inspection is None else inspection.to_json()
    own = {
        "queue": 1000 * ((ticket.started or now) - ticket.accepted),
        "part": 1000 * (now - ticket.accepted),
    }
    return FinalRecord(
        id=ticket.number,
        station=part.station,
        product=part.product,
        source=part.source,
        reference=part.reference,
        received_at=ticket.received_at,
        finished_at=ticket.received_at + now - ticket.accepted,
        verdict="uncertain" if inspection is None else inspection.verdict,
        reason=reason,
        detail=detail,
        score=told.get("anomaly_score"),
        threshold=told.get("threshold"),
        defects=tuple(told.get("defects", ())),
        text=told.get("text", {}),
        timings_ms={
            **{name: round(ms, 3) for name, ms in own.items()},
            **told.get("timings_ms", {}),
        },
        notes=tuple(told.get("notes", ())),
        path=told.get("path"),
        image_sha256=ticket.sha256,
        golden_sha256=golden_sha256,
        bundle=bundle,
        engine=engine,
    )
