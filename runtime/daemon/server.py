"""The life of a daemon from start to end: read top to bottom."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from adcopilot_edge.errors import DaemonError, EdgeError
from adcopilot_edge.runtime.daemon.door.check import check_door
from adcopilot_edge.runtime.daemon.door.listen import door_config
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings
from adcopilot_edge.runtime.daemon.inputs.inputs import Inputs
from adcopilot_edge.runtime.daemon.life import State
from adcopilot_edge.runtime.daemon.reload import ALARM, reload
from adcopilot_edge.runtime.daemon.signals import Signals
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.station_file import StationFile
from adcopilot_edge.runtime.daemon.systemd import Systemd, start_watching
from adcopilot_edge.runtime.daemon.web.app import create_app

_LOG = logging.getLogger(__name__)
_CLOSE_S = 5
_WAITING = 128  # connections


class Server:
    """Serves one station file until a signal, a failure, or ``stop``.

    path: where the file is, to read it again on SIGHUP; None where there is none.

    Raises:
        DaemonError: The address can't be had, the state folder not used, or the journal not opened.
        ConfigError: The door would stand open, or a golden of the station file can't be used.
    """

    def __init__(self, settings: StationFile, path: Path | None = None) -> None:
        check_door(settings)
        http = settings.http
        self._door = _bound(http)
        try:
            self.daemon = StationDaemon(settings, path=path)
            self.inputs = Inputs(self.daemon)
        except BaseException:
            self._door.close()
            raise
        self._scheme = "https" if http.has_tls else "http"
        self._uvicorn = uvicorn.Server(door_config(create_app(self.daemon, self.inputs), http))
        self._systemd = Systemd()

    def run(self, on_address: Callable[[str], None] = lambda address: None) -> int:
        """Serve; the exit code. on_address: told where, once requests are answered."""
        Signals((signal.SIGTERM, signal.SIGINT), self._on_signal)
        Signals((signal.SIGHUP,), self._reload)
        self.daemon.life.listen(self._on_state)
        self._systemd.follow(self.daemon.life)
        over = threading.Event()
        start_watching(self._systemd, self.daemon, over)
        self.daemon.start()
        try:
            asyncio.run(self._serve(on_address))
        finally:
            self.daemon.line.drain(0.0)  # nothing where it has ended
            self.daemon.line.join()
            if not self.inputs.join(_CLOSE_S):
                _LOG.warning("an input did not end within %d s", _CLOSE_S)
            self.daemon.stop()
            over.set()
            self._door.close()
        if self.daemon.life.state == "failed":
            _LOG.error("%s", self.daemon.life.reason)
        return self.daemon.line.exit_code

    def stop(self) -> None:
        """Close the door; may be called from any thread."""
        self._uvicorn.should_exit = True

    async def _serve(self, on_address: Callable[[str], None]) -> None:
        serving = asyncio.create_task(self._uvicorn._serve(sockets=[self._door]))
        while not self._uvicorn.started and not serving.done():
            await asyncio.sleep(0.01)
        if self._uvicorn.started:
            host, port = self._door.getsockname()[:2]
            on_address(f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}")
        await serving

    def _reload(self, count: int) -> None:
        try:
            changes = reload(self.daemon, who="SIGHUP")
        except EdgeError as err:
            self.daemon.alarms.set(ALARM, str(err))
            return
        _LOG.info("read anew, %d keys changed: %s", len(changes), [it.key for it in changes])

    def _on_state(self, state: State) -> None:
        if state in ("stopped", "failed"):
            self.stop()

    def _on_signal(self, count: int) -> None:
        """Drain; with the second signal end now."""
        if count == 1:
            self.daemon.line.drain(self.daemon.settings.daemon.drain_s)
            return
        self._uvicorn.force_exit = True
        self.daemon.line.drain(0.0)


def _bound(http: HttpSettings) -> socket.socket:
    try:
        family = socket.getaddrinfo(http.host, http.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server(
            (http.host, http.port), family=family, backlog=_WAITING, reuse_port=False
        )
    except OSError as err:
        raise DaemonError(
            f"the address {http.host}:{http.port} can't be had: {err.strerror}. Another program "
            "may have it; name another in the table http of the station file"
        ) from err
