"""A line whose worker is played by the test: it reads what was sent and says what it likes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.journal_file import connect
from adcopilot_edge.runtime.daemon.life import Life
from adcopilot_edge.runtime.daemon.line import Line
from adcopilot_edge.runtime.daemon.messages import (
    Done,
    FromWorker,
    Job,
    Ready,
    ToWorker,
    WorkerSetup,
)
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part
from adcopilot_edge.runtime.daemon.ticket import Ticket
from adcopilot_edge.types import Inspection

SOON_S = 20.0


def wait_until(is_so: Callable[[], bool], what: str = "it") -> None:
    """Wait until ``is_so`` says so, which must be soon."""
    end = time.monotonic() + SOON_S
    while not is_so():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.002)


def inspection(verdict: str = "normal") -> Inspection:
    """What a model finds in a part."""
    return Inspection(
        verdict=verdict,  # type: ignore[arg-type]
        anomaly_score=0.25,
        defects=(),
        text={},
        timings_ms={"total": 4.0},
        golden_cached=True,
        bundle="bundle",
        provider="cpu",
        precision="fp32",
        threshold=0.5,
    )


class PlayedWorker:
    """The worker's handle, as ``WorkerHandle`` has it, with the other end for the test."""

    def __init__(self) -> None:
        self.setup = WorkerSetup(
            bundle=None, provider="cpu", threads=None, packs=Path("packs"), products={}
        )
        self.connection: Connection | None = None
        self.pid: int | None = None
        self.starts = 0
        self.stops: list[str] = []
        self.start_error: OSError | None = None

    def start(self) -> None:
        if self.start_error is not None:
            raise self.start_error
        self.connection, self.there = Pipe()
        self.starts += 1

    def send(self, message: ToWorker) -> None:
        assert self.connection is not None
        self.connection.send(message)

    def receive(self) -> FromWorker | None:
        assert self.connection is not None
        try:
            message: FromWorker = self.connection.recv()
        except (EOFError, OSError):
            return None
        return message

    def stop(self) -> None:
        self.stops.append("stop")
        self._close()

    def kill(self) -> None:
        self.stops.append("kill")
        self._close()

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def say(self, message: FromWorker) -> None:
        """What the process would send."""
        self.there.send(message)

    def said(self) -> ToWorker:
        """The next message that it was sent."""
        assert self.there.poll(SOON_S), "the worker was sent nothing"
        message: ToWorker = self.there.recv()
        return message

    def job(self) -> Job:
        """The next job that it was sent."""
        message = self.said()
        assert isinstance(message, Job)
        return message

    def answer(self, job: Job, verdict: str = "normal") -> None:
        """Say that the job is done."""
        self.say(Done(number=job.number, inspection=inspection(verdict), golden_sha256="0" * 16))


class KeepNothing:
    """Keeps no image."""

    def keep(self, record: FinalRecord, image: bytes, *rest: Any) -> str | None:
        return None


class LineCase:
    """A line, its played worker, and what both write. is_read_only: the disk, for new files."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.alarms = Alarms()
        self.is_read_only = False
        self.journal = Journal(
            folder / "journal.sqlite",
            on_trouble=lambda words: self.alarms.set("journal", words, stops_line=True),
            open_connection=self._open,
        )
        self.life = Life()
        self.worker = PlayedWorker()
        self.finals: list[FinalRecord] = []
        given = {"queue_size": 2, "stuck_after_s": 60.0, "restarts_per_hour": 1, **settings}
        self.line = Line(
            journal=self.journal,
            life=self.life,
            worker=self.worker,
            images=given.pop("images", KeepNothing()),
            alarms=self.alarms,
            on_final=lambda record, part: self.finals.append(record),
            **given,
        )

    def _open(self, path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute(f"PRAGMA query_only = {int(self.is_read_only)}")
        return connection

    def refuse_writes(self, first: Callable[[], object] = lambda: None) -> Future[Any]:
        """From now on the journal's file takes nothing, until ``is_read_only`` is no more.

        first: called before, by the thread that writes.
        """
        self.is_read_only = True
        return self.journal.write(lambda c: (first(), c.execute("PRAGMA query_only = ON")))

    def be_ready(self, starts: int = 1) -> None:
        """Have the worker be ready after so many starts."""
        wait_until(lambda: self.worker.starts == starts, "the start of the worker")
        self.worker.say(Ready(bundle="bundle", engine="cpu fp32"))
        wait_until(lambda: self.life.is_ready, "ready")

    def submit(self, takt_ms: float | None = None, **part: Any) -> Ticket:
        """Hand a part in."""
        return self.line.submit(
            Part(
                image=b"image",
                station="belt",
                product="cap",
                source="test",
                takt_ms=takt_ms,
                **part,
            )
        )

    def end_of(self, ticket: Ticket) -> FinalRecord:
        """The final record of a part."""
        return ticket.done.result(SOON_S)

    def check_journal(self) -> None:
        """Every accepted part has its record: told once, and on the disk."""
        wait_until(lambda: not self.journal.open_parts(), "the end of all parts")
        rows = self.journal.read("SELECT id, verdict FROM parts ORDER BY id")
        told = sorted((record.id, record.verdict) for record in self.finals)
        assert told == [(row["id"], row["verdict"]) for row in rows]
        counters = self.line.counters
        assert counters.accepted == sum(counters.by_verdict.values()) + counters.unrecorded


@contextmanager
def line_case(folder: Path, *, is_ready: bool = True, **settings: Any) -> Iterator[LineCase]:
    """A line that runs, and is ended after the test."""
    case = LineCase(folder, **settings)
    case.line.start()
    try:
        if is_ready:
            case.be_ready()
        yield case
    finally:
        case.line.drain(0.0)
        case.line.join()
        case.journal.close()
