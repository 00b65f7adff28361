"""The daemon's handle on its worker process: start, send, end. Knows nothing of parts' records."""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Protocol

from adcopilot_edge.runtime.daemon.messages import FromWorker, Stop, ToWorker, WorkerSetup
from adcopilot_edge.runtime.daemon.worker_process import run_worker

_END_S = 5.0


class WorkerHandle(Protocol):
    """What a line asks of its worker: see ``Worker``."""

    setup: WorkerSetup
    connection: Connection | None

    def start(self) -> None:
        """Start it; after an end it is a new one."""
        ...

    def send(self, message: ToWorker) -> None:
        """Send a message. Raises OSError when it is gone."""
        ...

    def receive(self) -> FromWorker | None:
        """The next message, None when it is gone."""
        ...

    def stop(self) -> None:
        """Ask it to end, and see to it."""
        ...

    def kill(self) -> None:
        """End it now."""
        ...


class Worker:
    """One worker process. After ``kill`` or a death ``start`` makes a new one."""

    def __init__(self, setup: WorkerSetup) -> None:
        self.setup = setup
        self._context = multiprocessing.get_context("spawn")
        self._process: multiprocessing.process.BaseProcess | None = None
        self.connection: Connection | None = None

    @property
    def pid(self) -> int | None:
        """The number of the process, None without one."""
        return None if self._process is None else self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.is_alive()

    def start(self) -> None:
        """Start a process; it tells of its states by ``receive``."""
        here, there = self._context.Pipe()
        self._process = self._context.Process(
            target=run_worker, args=(there, self.setup), name="adcopilot-edge worker", daemon=True
        )
        self._process.start()
        there.close()
        self.connection = here

    def send(self, message: ToWorker) -> None:
        """Send a message. Raises OSError when the process is gone."""
        if self.connection is None:
            raise BrokenPipeError("the worker was not started")
        self.connection.send(message)

    def receive(self) -> FromWorker | None:
        """The next message, None when the process is gone. Waits for one."""
        assert self.connection is not None
        try:
            message: FromWorker = self.connection.recv()
        except (EOFError, OSError):
            return None
        return message

    def stop(self) -> None:
        """Ask it to end, wait a little, and end it if it does not."""
        with suppress(OSError):
            self.send(Stop())
        if self._process is not None:
            self._process.join(_END_S)
        self.kill()

    def kill(self) -> None:
        """End the process now."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self.connection is not None:
            self.connection.close()
            self.connection = None
