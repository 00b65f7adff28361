"""A watched folder: its complete pictures are parts, and each file has one final record.

One thread does it all: look, take, read, hand over, and put the file where its record says.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from typing import Any

from adcopilot_edge.errors import (
    ConfigError,
    EdgeError,
    InputError,
    NotReadyError,
    QueueFullError,
)
from adcopilot_edge.runtime.daemon.inputs.claims import Claim, Claims, RecordFinder
from adcopilot_edge.runtime.daemon.inputs.complete_files import CompleteFiles, FileState
from adcopilot_edge.runtime.daemon.inputs.file_names import NameParts, read_name
from adcopilot_edge.runtime.daemon.inputs.folder_watch import FolderWatch
from adcopilot_edge.runtime.daemon.inputs.picture_file import FileChangesError, read_picture
from adcopilot_edge.runtime.daemon.inputs.seen_files import SeenFiles
from adcopilot_edge.runtime.daemon.inputs.settings import FolderSettings
from adcopilot_edge.runtime.daemon.inputs.work_folder import WorkFolder
from adcopilot_edge.runtime.daemon.part import Reason
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.ticket import Ticket

_LOG = logging.getLogger(__name__)
_RETRY_S = 1.0
_READ_TRIES = 3


class FolderInput:
    """Takes the files of one folder, in order, a few at a time."""

    def __init__(self, settings: FolderSettings) -> None:
        self.name, self.source = settings.name, settings.source
        self._settings = settings
        self._pattern = (
            None if settings.product_pattern is None else re.compile(settings.product_pattern)
        )
        self._files = CompleteFiles(
            settings.path,
            suffixes=settings.suffixes,
            settle_s=settings.settle_s,
            order=settings.order,
            is_known=lambda file: self._claims.is_known(file),
            on_names=lambda names: self._claims.forget_gone(names),
        )
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._news = threading.Event()
        self._watch = FolderWatch(settings.path, self._on_news)
        self._waiting: deque[Claim] = deque()  # taken, and not accepted yet
        self._found: deque[FileState] = deque()
        self._in_flight: list[tuple[Claim, Ticket]] = []
        self._unsettled: list[tuple[Claim, dict[str, Any]]] = []
        self._tries = 0
        self._retry_at = self._scan_at = 0.0
        self._last_number = 0
        self._is_recovered = False
        self._problem: str | None = "it was not started"
        self._counts = {"accepted": 0, "finished": 0, "gone": 0}

    def start(self, daemon: StationDaemon) -> None:
        """Begin: first with what the last daemon left."""
        self._daemon = daemon
        self._claims = self._open(daemon)
        self._thread = threading.Thread(target=self._run, name=self.source, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more files; those in the queue are seen to their end."""
        self._stopping.set()
        self._wake.set()

    def join(self, seconds: float) -> bool:
        """Wait until the files that were handed over are where their records say."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def to_json(self) -> dict[str, Any]:
        """The state: how many files wait, grow, are ignored, and were done since the start."""
        return {
            "name": self.name,
            "kind": "folder",
            "station": self._settings.station,
            "is_well": self._problem is None,
            "problem": self._problem,
            "waiting": len(self._found) + len(self._waiting),
            "growing": self._files.growing,
            "ignored": self._files.ignored,
            "in_flight": len(self._in_flight),
            **self._counts,
        }

    def _open(self, daemon: StationDaemon) -> Claims:
        at = self._settings
        if at.after == "leave":
            return SeenFiles(at.path, daemon.journal, self.source)
        return WorkFolder(at.path, at.after)

    def _run(self) -> None:
        while not (self._stopping.is_set() and not self._in_flight):
            try:
                self._cycle()
            except Exception as err:  # the thread must live; whatever it is, the line is told
                _LOG.debug("%s", self.source, exc_info=True)
                self._tell(f"{self._settings.path}: {_words(err)}")
                self._retry_at = time.monotonic() + _RETRY_S
            self._wake.wait(self._next_s())
            self._wake.clear()
        self._watch.stop()
        self._claims.close()

    def _next_s(self) -> float:
        now = time.monotonic()
        if self._stopping.is_set():
            return _RETRY_S
        moments = [max(self._scan_at, self._retry_at)]
        if self._files.next_at is not None:
            moments.append(max(self._files.next_at, self._retry_at))
        if self._unsettled or (self._waiting and self._has_room):
            moments.append(self._retry_at)
        return max(0.0, min(moments) - now)

    def _cycle(self) -> None:
        if not self._is_recovered:
            self._recover()
        self._settle()
        if self._stopping.is_set() or time.monotonic() < self._retry_at:
            return
        self._look()
        while self._has_room and not self._stopping.is_set():
            if not self._waiting and not self._take():
                break
            if (wait_s := self._hand_over(self._waiting[0])) is not None:
                self._retry_at = time.monotonic() + wait_s
                break
            self._waiting.popleft()
        self._tell(None)

    @property
    def _has_room(self) -> bool:
        return len(self._in_flight) < self._settings.in_flight

    def _recover(self) -> None:
        journal = self._daemon.journal
        rows = journal.read("SELECT COALESCE(MAX(id), 0) AS last FROM parts")
        self._last_number = rows[0]["last"]
        finder = RecordFinder(journal, self.source, lambda name: self._parts(name).reference)
        self._waiting.extend(self._claims.recover(finder))
        self._is_recovered = True

    def _on_news(self) -> None:
        self._news.set()
        self._wake.set()

    def _look(self) -> None:
        """Look through the folder when there is news of it, or it is time, and watch it."""
        now, settled_at = time.monotonic(), self._files.next_at
        is_due = now >= self._scan_at or (settled_at is not None and now >= settled_at)
        if not is_due and not self._news.is_set():
            return
        self._news.clear()
        self._watch.renew()
        self._found = deque(self._files.scan(now))
        self._scan_at = now + self._settings.scan_s

    def _take(self) -> bool:
        """Take the next file of those found; whether there was one."""
        while self._found:
            file = self._found.popleft()
            claim = self._claims.take(file.name, file.size, file.mtime_ns)
            if claim is not None:
                self._waiting.append(claim)
                self._tries = 0
                return True
        return False

    def _hand_over(self, claim: Claim) -> float | None:
        """Make the file a part; None when it is one or has gone, else how long it must wait."""
        try:
            image = read_picture(claim, self._settings.max_mb << 20)
        except FileNotFoundError:
            self._claims.drop(claim)
            self._counts["gone"] += 1
            _LOG.warning("%s: %s was taken away before it was read", self.source, claim.name)
            return None
        except FileChangesError:
            if self._claims.release(claim):
                return None
            return self._settings.settle_s
        except InputError as err:
            return self._end(claim, "image_unusable", str(err))
        except OSError as err:
            self._tries += 1
            if self._tries < _READ_TRIES:
                return _RETRY_S
            words = f"{claim.name} can't be read: {err.strerror}"
            return self._end(claim, "image_unusable", words)
        parts = self._parts(claim.name)
        if parts.problem is not None:
            return self._end(claim, "product_unknown", parts.problem)
        return self._submit(claim, image, parts)

    def _submit(self, claim: Claim, image: bytes, parts: NameParts) -> float | None:
        self._claims.note(claim, self._last_number)
        try:
            ticket = self._daemon.submit(
                image,
                source=self.source,
                station=self._settings.station,
                product=parts.product,
                reference=parts.reference,
            )
        except (QueueFullError, NotReadyError) as err:
            return err.retry_after_s or _RETRY_S
        except ConfigError as err:
            return self._end(claim, "product_unknown", str(err))
        self._follow(claim, ticket)
        return None

    def _end(self, claim: Claim, reason: Reason, detail: str) -> float | None:
        """Make a file that can't be inspected a part that ends at once."""
        self._claims.note(claim, self._last_number)
        try:
            ticket = self._daemon.end_unseen(
                reason,
                detail,
                source=self.source,
                station=self._settings.station,
                reference=self._parts(claim.name).reference,
            )
        except NotReadyError as err:
            return err.retry_after_s or _RETRY_S
        self._follow(claim, ticket)
        return None

    def _follow(self, claim: Claim, ticket: Ticket) -> None:
        self._last_number = ticket.number
        self._counts["accepted"] += 1
        self._tries = 0
        self._in_flight.append((claim, ticket))
        ticket.done.add_done_callback(lambda done: self._wake.set())

    def _settle(self) -> None:
        """Put the files whose parts are final where they belong; without a record, try again."""
        done = [item for item in self._in_flight if item[1].done.done()]
        for claim, ticket in done:
            self._in_flight.remove((claim, ticket))
            if (error := ticket.done.exception()) is not None:
                _LOG.error("%s: %s has no record: %s", self.source, claim.name, error)
                self._waiting.appendleft(claim)
                self._retry_at = time.monotonic() + _RETRY_S
            else:
                self._unsettled.append((claim, ticket.done.result().to_json()))
        while self._unsettled:
            claim, record = self._unsettled[0]
            self._claims.settle(claim, record)
            self._unsettled.pop(0)
            self._counts["finished"] += 1

    def _parts(self, name: str) -> NameParts:
        return read_name(name, self._pattern)

    def _tell(self, problem: str | None) -> None:
        self._problem = problem
        self._daemon.alarms.set(self.source, problem)


def _words(error: Exception) -> str:
    if isinstance(error, EdgeError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror} ({error.filename})"
    return f"{type(error).__name__}: {error}"
