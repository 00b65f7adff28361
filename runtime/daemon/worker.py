"""The daemon's handle on its worker process: start, send, end. Knows nothing of parts' records."""

from __future__ import annotations

import logging
import multiprocessing
import socket
import struct
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Protocol

from adcopilot_edge.runtime.daemon.messages import FromWorker, Stop, ToWorker, WorkerSetup
from adcopilot_edge.runtime.daemon.worker_process import run_worker

_LOG = logging.getLogger(__name__)
_END_S = 5.0
_KILL_S = 2.0
# A process that stands still in the middle of a message must not make the line stand still.
_TALK_S = 5


class WorkerHandle(Protocol):
    """What a line asks of its worker: see ``Worker``."""

    setup: WorkerSetup
    connection: Connection | None

    @property
    def pid(self) -> int | None:
        """The number of its process, None without one."""
        ...

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
        """Start a process; it tells of its states by ``receive``. Raises OSError."""
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=run_worker, args=(there, self.setup), name="adcopilot-edge worker", daemon=True
        )
        try:
            process.start()
        except OSError:
            here.close()
            raise
        finally:
            there.close()
        _limit_talk(here)
        self._process, self.connection = process, here

    def send(self, message: ToWorker) -> None:
        """Send a message. Raises OSError when the process is gone or does not take it."""
        if self.connection is None:
            raise BrokenPipeError("the worker was not started")
        self.connection.send(message)

    def receive(self) -> FromWorker | None:
        """The message that ``connection`` is readable for, None when the process is gone.

        It is given up when it stands still amid a message.
        """
        assert self.connection is not None
        try:
            message: FromWorker = self.connection.recv()
        except (EOFError, OSError):
            return None
        except Exception:  # not a message: the process is out of its mind
            _LOG.exception("what the worker said")
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
            self._process.join(_KILL_S)
            if self._process.is_alive():  # in the kernel, in a driver's hands
                _LOG.error("process %d does not end when it is killed", self._process.pid)
            else:
                self._process.close()
            self._process = None
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def _limit_talk(connection: Connection) -> None:
    limit = struct.pack("ll", _TALK_S, 0)
    with socket.socket(fileno=connection.fileno()) as talk:
        talk.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        talk.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        talk.detach()
