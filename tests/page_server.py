"""The page served over a journal that the test fills, and a browser that looks at it."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from pathlib import Path

import uvicorn

CHROMIUM = Path("/usr/bin/chromium")


class Door:
    """A server in a thread that can be closed and opened again at the same port."""

    def __init__(self, app):
        self._app = app
        self.port = 0
        self.open()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def open(self):
        config = uvicorn.Config(
            self._app, port=self.port, log_config=None, timeout_graceful_shutdown=0
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def close(self):
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()


@contextmanager
def door(app):
    """Serve an application while the block runs."""
    opened = Door(app)
    try:
        yield opened
    finally:
        opened.close()
