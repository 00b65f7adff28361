"""A daemon inside the test's process, with a worker that plays its part without a model.

``picture("anomaly")`` makes a part whose verdict the fake worker will give.
"""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from adcopilot_edge.errors import InputError
from adcopilot_edge.runtime.daemon.messages import (
    Done,
    Entered,
    FromWorker,
    Job,
    NewProducts,
    ProductsTaken,
    Ready,
    Refused,
    Stop,
    Told,
    ToWorker,
    WorkerSetup,
)
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.station_file import StationFile
from adcopilot_edge.runtime.daemon.web.app import create_app
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.runtime.stream import AnswerEvent, TextEvent, VerdictEvent
from adcopilot_edge.types import Defect, Inspection, Verdict

BUNDLE = "fake-bundle"
_COLOURS = {"normal": (40, 200, 40), "anomaly": (200, 40, 40), "uncertain": (40, 40, 200)}
_SCORES = {"normal": 0.125, "anomaly": 0.875, "uncertain": 0.5}
_SOON_S = 20.0


def picture(verdict: Verdict = "normal", *, size: int = 32, seed: int = 0) -> bytes:
    """A PNG for which the fake worker gives that verdict. seed: for other pixels."""
    noise = np.random.default_rng(seed).integers(-20, 20, (size, size, 3))
    pixels = (np.array(_COLOURS[verdict]) + noise).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def verdict_of(image: bytes) -> Verdict:
    """The verdict for a picture, by its colour. Raises InputError for what is none."""
    red, green, blue = open_image(image).reshape(-1, 3).mean(axis=0)
    if blue > red and blue > green:
        return "uncertain"
    return "anomaly" if red > green else "normal"


def inspection_of(image: bytes, text: dict[str, str] | None = None) -> Inspection:
    """What the fake worker finds in a picture. Raises InputError for what is none."""
    verdict = verdict_of(image)
    defect = Defect(label="scratch", bbox_2d=(4.0, 6.0, 12.0, 16.0), source="text")
    return Inspection(
        verdict=verdict,
        anomaly_score=_SCORES[verdict],
        defects=(defect,) if verdict == "anomaly" else (),
        text=text or {},
        timings_ms={"vision": 1.5, "prefill": 2.5, "total": 4.0},
        golden_cached=True,
        bundle=BUNDLE,
        provider="cpu",
        precision="fp32",
        threshold=0.5,
    )


class FakeWorker:
    """A worker in a thread, in place of the process of ``Worker``.

    jobs: what it was sent. gate: cleared, it keeps the next job back until it is set. fault: raised
    instead of the next answer; ``die`` ends it without one. Unless ``is_ready_at_once`` is true it
    starts when ``let_start`` is set.
    """

    def __init__(self, setup: WorkerSetup, *, is_ready_at_once: bool = True) -> None:
        self.setup = setup
        self.connection: Connection | None = None
        self.jobs: list[Job] = []
        self.taken: list[NewProducts] = []
        self.gate = threading.Event()
        self.gate.set()
        self.let_start = threading.Event()
        self.delay_s = 0.0
        self.fault: Exception | None = None
        self.refusal: Refused | None = None
        self.problem: str | None = None
        self.starts = 0
        self.pid: int | None = None
        if is_ready_at_once:
            self.let_start.set()

    @property
    def is_alive(self) -> bool:
        """Whether it was started and not ended."""
        return self.connection is not None

    def start(self) -> None:
        here, there = Pipe()
        self.connection = here
        self.starts += 1
        threading.Thread(target=self._run, args=(there,), daemon=True).start()

    def send(self, message: ToWorker) -> None:
        if self.connection is None:
            raise BrokenPipeError("the worker was not started")
        self.connection.send(message)

    def receive(self) -> FromWorker | None:
        assert self.connection is not None
        try:
            message: FromWorker = self.connection.recv()
        except (EOFError, OSError):
            return None
        return message

    def stop(self) -> None:
        self.let_start.set()
        self.kill()

    def kill(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def die(self) -> None:
        """End by itself, as a process that crashed, with the next job."""
        self.fault = EOFError()

    def _run(self, there: Connection) -> None:
        try:
            self._live(there)
        except (EOFError, OSError):  # it was ended
            there.close()

    def _live(self, there: Connection) -> None:
        there.send(Entered(state="loading"))
        self.let_start.wait(_SOON_S)
        if self.refusal is not None:
            there.send(self.refusal)
            return
        there.send(Ready(bundle=BUNDLE, engine="cpu fp32"))
        while True:
            message: ToWorker = there.recv()
            if isinstance(message, Stop):
                return
            if isinstance(message, NewProducts):
                self.taken.append(message)
                there.send(ProductsTaken(problem=self.problem))
                continue
            self.jobs.append(message)
            for answer in self._answers(message):
                there.send(answer)

    def _answers(self, job: Job) -> Generator[FromWorker, None, None]:
        fault, self.fault = self.fault, None
        if isinstance(fault, EOFError):
            raise fault
        try:
            inspection = inspection_of(job.image, _words(job))
        except InputError as err:
            yield Done(number=job.number, problem=str(err), is_image_fault=True)
            return
        if job.has_events:
            yield Told(
                number=job.number,
                event=VerdictEvent(
                    verdict=inspection.verdict, anomaly_score=inspection.anomaly_score
                ),
            )
        self.gate.wait(_SOON_S)
        time.sleep(self.delay_s)
        if job.has_events:
            yield from _told(job.number, inspection)
        if fault is not None:
            yield Done(number=job.number, problem=str(fault))
            return
        yield Done(number=job.number, inspection=inspection, golden_sha256="0123456789abcdef")


def _words(job: Job) -> dict[str, str]:
    text: dict[str, str] = {task: f"the {task} of part {job.number}" for task in job.tasks or ()}
    return text if job.ask is None else {**text, "ask": f"You asked: {job.ask}"}


def _told(number: int, inspection: Inspection) -> Iterator[Told]:
    for name, text in inspection.text.items():
        middle = len(text) // 2
        for piece in (text[:middle], text[middle:]):
            yield Told(number=number, event=TextEvent(name=name, piece=piece))
        yield Told(number=number, event=AnswerEvent(name=name, text=text, is_complete=True))


def station_file(folder: Path, **tables: Any) -> StationFile:
    """A station file with the station ``belt``, the products ``cap`` and ``lid``, on any port.

    tables: in place of those, as the TOML would have them.
    """
    golden = folder / "golden.png"
    golden.write_bytes(picture("normal", seed=99))
    content: dict[str, Any] = {
        "daemon": {"state": folder / "state", "min_free_mb": 0},
        "http": {"port": 0},
        "stations": [{"name": "belt", "product": "cap"}],
        "products": [
            {"name": "cap", "goldens": [golden]},
            {"name": "lid", "goldens": [golden], "tasks": ["describe"]},
        ],
    }
    return StationFile.model_validate({**content, **tables})


class RunningDaemon:
    """A daemon that runs: the thing itself, its worker, and a client of its application."""

    def __init__(self, daemon: StationDaemon, worker: FakeWorker) -> None:
        self.daemon = daemon
        self.worker = worker
        self.client = TestClient(create_app(daemon), raise_server_exceptions=False)

    def wait_until(self, state: str) -> None:
        """Wait until the daemon is in a state."""
        end = time.monotonic() + _SOON_S
        while self.daemon.life.state != state:
            assert time.monotonic() < end, f"{self.daemon.life.to_json()}, not {state}"
            time.sleep(0.002)

    def records(self) -> list[dict[str, Any]]:
        """The final records, oldest first."""
        rows = self.daemon.journal.read(
            "SELECT id FROM parts WHERE verdict IS NOT NULL ORDER BY id"
        )
        found = [self.daemon.journal.record(row["id"]) for row in rows]
        return [record for record in found if record is not None]

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve the application over a socket: its address, as ``http://127.0.0.1:4711``."""
        config = uvicorn.Config(
            self.client.app, port=0, log_config=None, access_log=False, lifespan="off"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
        thread.start()
        end = time.monotonic() + _SOON_S
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.002)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_SOON_S)


@contextmanager
def running_daemon(
    folder: Path, *, is_ready_at_once: bool = True, **tables: Any
) -> Iterator[RunningDaemon]:
    """A daemon with a fake worker; it is ready unless told otherwise. tables: of the file."""
    workers: list[FakeWorker] = []

    def open_worker(setup: WorkerSetup) -> FakeWorker:
        workers.append(FakeWorker(setup, is_ready_at_once=is_ready_at_once))
        return workers[0]

    daemon = StationDaemon(station_file(folder, **tables), open_worker)
    daemon.start()
    running = RunningDaemon(daemon, workers[0])
    try:
        if is_ready_at_once:
            running.wait_until("ready")
        yield running
    finally:
        workers[0].gate.set()
        daemon.line.drain(0.0)
        daemon.stop()
