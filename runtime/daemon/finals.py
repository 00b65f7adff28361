"""The end of a part: its final record, on the disk before anybody is told.

A part whose record can't be written is not told a verdict. Its record is then ``uncertain``, kept
in memory, and written once the disk works again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Protocol

from adcopilot_edge.errors import JournalError
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.pace import InspectionPace
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part
from adcopilot_edge.runtime.daemon.ticket import Counters, Ticket
from adcopilot_edge.types import FloatArray

_LOG = logging.getLogger(__name__)
_RETRY_S = 1.0


class ImageKeeper(Protocol):
    """Keeps images by policy."""

    def keep(self, record: FinalRecord, image: bytes, anomaly_map: FloatArray | None) -> str | None:
        """Where the image was kept, or None; its map is kept beside it."""
        ...


class Finals:
    """Ends parts. ``end`` and ``retry`` are for one thread; the answers come in the journal's.

    outputs_of: which outboxes a part's record goes to. on_final: called with every final record and
    its part once the record is on the disk, in the journal's thread: it must be quick.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        images: ImageKeeper,
        counters: Counters,
        pace: InspectionPace,
        outputs_of: Callable[[Part], Iterable[str]],
        on_final: Callable[[FinalRecord, Part], None],
    ) -> None:
        self._journal = journal
        self._images = images
        self._counters = counters
        self._pace = pace
        self._outputs_of = outputs_of
        self._on_final = on_final
        self._lock = threading.Lock()
        self._unwritten: list[tuple[FinalRecord, Part]] = []
        self._retry_at = 0.0

    def end(self, ticket: Ticket, record: FinalRecord, anomaly_map: FloatArray | None) -> None:
        """Keep the image with its map, write the record, then tell who waits."""
        began = time.monotonic()
        part = ticket.part
        kept = replace(record, image_file=self._images.keep(record, part.image, anomaly_map))
        written = self._journal.finish(kept, self._outputs_of(part))

        def tell(future: Future[bool]) -> None:
            self._pace.learn_record(time.monotonic() - began)
            problem = self._settle(kept, part, future)
            if problem is None:
                ticket.done.set_result(kept)
                self._on_final(kept, part)
            else:
                ticket.done.set_exception(problem)

        written.add_done_callback(tell)

    def withdraw(self, ticket: Ticket) -> None:
        """End a part whose acceptance could not be written: there is no record of it."""
        self._counters.unrecorded += 1
        ticket.done.set_exception(_unknown(ticket.number))

    def retry(self, now: float, *, at_once: bool = False) -> None:
        """Write the records that could not be written. now: by the monotonic clock."""
        if now < self._retry_at and not at_once:
            return
        with self._lock:
            waiting, self._unwritten = self._unwritten, []
        if waiting:
            self._retry_at = now + _RETRY_S
        for record, part in waiting:
            written = self._journal.finish(record, self._outputs_of(part))
            written.add_done_callback(partial(self._settle_again, record, part))

    @property
    def unwritten(self) -> int:
        """Records that wait for the disk."""
        return len(self._unwritten)

    def _settle_again(self, record: FinalRecord, part: Part, written: Future[bool]) -> None:
        if self._settle(record, part, written) is None:
            self._on_final(record, part)

    def _settle(
        self, record: FinalRecord, part: Part, written: Future[bool]
    ) -> BaseException | None:
        """Count a record that is on the disk, or see to one that is not; why it is not."""
        if (error := written.exception()) is not None:
            self._keep_for_later(record, part, error)
            return error if isinstance(error, JournalError) else _unwritable(record.id, error)
        if not written.result():
            self._counters.unrecorded += 1
            return _unknown(record.id)
        self._counters.count(record)
        return None

    def _keep_for_later(self, record: FinalRecord, part: Part, error: BaseException) -> None:
        """What nobody was told is no verdict: the line has rejected the part by now."""
        unsure = replace(
            record,
            verdict="uncertain",
            reason="journal_failed",
            detail=f"no verdict was told, since its record could not be written: {error}",
            score=None,
            threshold=None,
            defects=(),
            text={},
            notes=(),
            path=None,
        )
        with self._lock:
            self._unwritten.append((unsure, replace(part, image=b"")))


def _unknown(number: int) -> JournalError:
    return JournalError(f"part {number} could not be noted when it was accepted; send it again")


def _unwritable(number: int, error: BaseException) -> JournalError:
    return JournalError(
        f"the record of part {number} can't be written: {type(error).__name__}: {error}"
    )
