"""The threads of an output that a PLC reads: its server, begun anew after a failure; its heart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from adcopilot_edge.errors import OutputError
from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.outputs.backoff import BackOff
from adcopilot_edge.runtime.daemon.outputs.settings import PlcOutput
from adcopilot_edge.runtime.daemon.outputs.signals import BEAT_S, SignalBoard

_LOG = logging.getLogger(__name__)
_RETRY_MAX_S = 10.0
_END_S = 3.0

# Serves the board until cancelled, and calls the function once it listens. Raises OutputError or
# OSError when it can't.
Serve = Callable[[PlcOutput, SignalBoard, Callable[[], None]], Awaitable[None]]


class PlcServer:
    """Serves one board until it is told to stop.

    The heart beats in a thread of its own, apart from the server: either of the two may fail, and
    the PLC sees it.
    """

    def __init__(
        self, settings: PlcOutput, board: SignalBoard, alarms: Alarms, serve: Serve
    ) -> None:
        self.name = settings.name
        self.board = board
        self.is_listening = False
        self._settings = settings
        self._alarms = alarms
        self._serve = serve
        self._back_off = BackOff(_RETRY_MAX_S)
        self._is_over = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=run, name=f"output {self.name}", daemon=True)
            for run in (self._run, self._beat)
        ]

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop; does not wait for it."""
        self._is_over.set()
        with self._lock:
            if self._loop is not None and self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)

    def join(self, seconds: float = _END_S) -> bool:
        """Wait for the end of the threads; whether they have ended."""
        for thread in self._threads:
            thread.join(max(0.0, seconds))
        return not any(thread.is_alive() for thread in self._threads)

    def to_json(self) -> dict[str, Any]:
        """How it goes, as ``/healthz`` tells it."""
        return {
            "kind": self._settings.kind,
            "listening": self.is_listening,
            "told": self.board.num_told,
        }

    def _beat(self) -> None:
        while not self._is_over.wait(BEAT_S):
            self.board.beat()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                asyncio.run(self._main())
            except (OutputError, OSError) as err:
                self._fail(str(err))
            except Exception as err:  # the output is tried again, whatever its library does
                _LOG.exception("output %s", self.name)
                self._fail(f"{type(err).__name__}: {err}")
            self.is_listening = False
            self._is_over.wait(self._back_off.take())

    async def _main(self) -> None:
        with self._lock:
            if self._is_over.is_set():
                return
            self._loop = asyncio.get_running_loop()
            task = self._task = asyncio.create_task(self._guarded())
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            with self._lock:
                self._loop = self._task = None

    async def _guarded(self) -> None:
        await self._serve(self._settings, self.board, self._listens)

    def _listens(self) -> None:
        self.is_listening = True
        self._back_off.reset()
        self._alarms.set(f"output:{self.name}", None)

    def _fail(self, problem: str) -> None:
        self._alarms.set(
            f"output:{self.name}",
            f"{self._settings.host}:{self._settings.port} does not serve {self._settings.kind}: "
            f"{problem}",
        )
