"""The life of a daemon from start to end: read top to bottom."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable

import uvicorn

from adcopilot_edge.runtime.daemon.door.check import check_door
from adcopilot_edge.runtime.daemon.door.listen import door_config
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.station_file import StationFile
from adcopilot_edge.runtime.daemon.web.app import create_app

_LOG = logging.getLogger(__name__)


class Server:
    """Serves one station file until a signal, a failure, or ``stop``.

    Raises ConfigError when the door would stand open or can't be opened, and as ``StationDaemon``.
    """

    def __init__(self, settings: StationFile) -> None:
        check_door(settings)
        http = settings.http
        self.daemon = StationDaemon(settings)
        self._scheme = "https" if http.has_tls else "http"
        self._uvicorn = uvicorn.Server(door_config(create_app(self.daemon), http))
        self._uvicorn.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._signals = 0

    def run(self, on_address: Callable[[str], None] = lambda address: None) -> int:
        """Serve; the exit code. on_address: told where, once requests are answered."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.daemon.life.listen(
            lambda state: self.stop() if state in ("stopped", "failed") else None
        )
        self.daemon.start()
        asyncio.run(self._serve(on_address))
        self.daemon.stop()
        if self.daemon.life.state == "failed":
            _LOG.error("%s", self.daemon.life.reason)
        return self.daemon.line.exit_code

    def stop(self) -> None:
        """Close the door; may be called from any thread."""
        self._uvicorn.should_exit = True

    async def _serve(self, on_address: Callable[[str], None]) -> None:
        serving = asyncio.create_task(self._uvicorn._serve())
        while not self._uvicorn.started and not serving.done():
            await asyncio.sleep(0.01)
        if self._uvicorn.started:
            host, port = self._uvicorn.servers[0].sockets[0].getsockname()[:2]
            on_address(f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}")
        await serving

    def _on_signal(self, number: int, frame: object) -> None:
        self._signals += 1
        if self._signals > 1:
            self._uvicorn.force_exit = True
            self.daemon.line.drain(0.0)
            self.stop()
            return
        threading.Thread(
            target=self.daemon.line.drain, args=(self.daemon.settings.daemon.drain_s,)
        ).start()
