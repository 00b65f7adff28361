"""An accepted part on its way through the line, and the record that it ends with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from adcopilot_edge.runtime.daemon.messages import Job
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part, Reason
from adcopilot_edge.runtime.stream import Event
from adcopilot_edge.types import Inspection, Task

_LOG = logging.getLogger(__name__)


def _promise() -> Future[FinalRecord]:
    """A future that its reader can't cancel: the record comes, whoever still waits for it."""
    promise: Future[FinalRecord] = Future()
    promise.set_running_or_notify_cancel()  # who stops waiting does not stop the part
    return promise


IN_QUEUE: tuple[Reason, str] = ("takt_overrun", "the takt ended in the queue")


@dataclass(slots=True, kw_only=True, eq=False)
class Ticket:
    """An accepted part on its way. deadline: when it must end, by the monotonic clock, or None.

    done: has the final record once that is on the disk, or JournalError where it can't be written;
    waiting for it may be given up, the part goes on. on_event: called in the line's thread: it must
    be quick. ending: why it ends where its deadline comes before its turn.
    """

    number: int
    part: Part
    received_at: float
    accepted: float
    deadline: float | None
    sha256: str
    done: Future[FinalRecord] = field(default_factory=_promise)
    on_event: Callable[[Event], None] | None = None
    started: float | None = None
    ending: tuple[Reason, str] = IN_QUEUE

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
    """What happened since the start. late: results that came after their part was ended.

    unrecorded: accepted parts without any record, since the disk did not write; whoever waited was
    told so.
    """

    accepted: int = 0
    refused_full: int = 0
    refused_not_ready: int = 0
    late: int = 0
    unrecorded: int = 0
    restarts: int = 0
    by_verdict: dict[str, int] = field(default_factory=dict)
    by_reason: dict[str, int] = field(default_factory=dict)

    def count(self, record: FinalRecord) -> None:
        """Count a final record."""
        self.by_verdict[record.verdict] = self.by_verdict.get(record.verdict, 0) + 1
        if record.reason is not None:
            self.by_reason[record.reason] = self.by_reason.get(record.reason, 0) + 1

    def to_json(self) -> dict[str, Any]:
        """The counters as ``/healthz`` tells them."""
        return {
            "accepted": self.accepted,
            "refused_full": self.refused_full,
            "refused_not_ready": self.refused_not_ready,
            "late_results": self.late,
            "unrecorded": self.unrecorded,
            "worker_restarts": self.restarts,
            "by_verdict": dict(self.by_verdict),
            "by_reason": dict(self.by_reason),
        }


def job_of(ticket: Ticket, now: float) -> Job:
    """The inspection of a part that begins now, by the monotonic clock, with what time it has."""
    part, ticket.started = ticket.part, now
    tasks: tuple[Task, ...] | None = part.tasks  # type: ignore[assignment]
    return Job(
        number=ticket.number,
        image=part.image,
        product=part.product,
        tasks=tasks,
        ask=part.ask,
        takt_ms=None if ticket.deadline is None else max(1.0, 1000 * (ticket.deadline - now)),
        has_events=ticket.on_event is not None,
        golden=part.golden,
    )


def final_record(
    ticket: Ticket,
    *,
    inspection: Inspection | None,
    golden_sha256: str | None,
    recipe: dict[str, Any] | None,
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
        calibration=told.get("calibration"),
        recipe=recipe,
    )
