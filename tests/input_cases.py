"""A daemon with a fake worker and ways in, a camera that plays its part, and waiting for things."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from daemon_fakes import RunningDaemon, running_daemon
from starlette.testclient import TestClient

from adcopilot_edge.runtime.daemon.inputs.capture import CameraError, Pixels, opener
from adcopilot_edge.runtime.daemon.inputs.inputs import Inputs
from adcopilot_edge.runtime.daemon.web.app import create_app

SOON_S = 20.0


def wait_for(is_so: Callable[[], object], what: str = "") -> None:
    """Wait until something is so; fails after 20 seconds."""
    end = time.monotonic() + SOON_S
    while not is_so():
        assert time.monotonic() < end, what or "it did not come"
        time.sleep(0.005)


def records_of(running: RunningDaemon) -> list[dict[str, Any]]:
    """The final records, in the order of acceptance."""
    return sorted(running.records(), key=lambda record: record["id"])


def folder_table(path: Path, **keys: Any) -> dict[str, Any]:
    """The table of a folder's input that looks often, so that tests are quick."""
    return {
        "kind": "folder",
        "name": "in",
        "station": "belt",
        "path": path,
        "settle_s": 0.05,
        "scan_s": 0.05,
        **keys,
    }


@contextmanager
def daemon_with(
    folder: Path,
    *inputs: dict[str, Any],
    camera: FakeCamera | None = None,
    **tables: Any,
) -> Iterator[tuple[RunningDaemon, Inputs]]:
    """A daemon that is ready, with ways in that are open. camera: in place of OpenCV's."""
    with running_daemon(folder, inputs=inputs, **tables) as running:
        opener_of = opener if camera is None else lambda settings: camera
        opened = Inputs(running.daemon, opener_of)
        running.client = TestClient(
            create_app(running.daemon, opened), raise_server_exceptions=False
        )
        try:
            yield running, opened
        finally:
            running.worker.gate.set()
            opened.stop()
            if camera is not None:
                camera.gone = True
            opened.join(SOON_S)


class FakeCamera:
    """A camera that gives a grey frame each time ``expose`` is called, or all the time.

    Its frames are plain, of the grey 1, 2, 3 and so on. gone: what waits and openings fail.
    """

    def __init__(self) -> None:
        self.shown = 0
        self.gone = False
        self.is_streaming = False
        self.openings = 0
        self.releases = 0
        self._exposures = threading.Semaphore(0)

    def __call__(self) -> FakeCamera:
        """Open it."""
        if self.gone:
            raise CameraError("the fake camera is unplugged")
        self.openings += 1
        return self

    def expose(self, times: int = 1) -> None:
        """Let reads have frames."""
        self._exposures.release(times)

    def read(self) -> tuple[bool, Pixels | None]:
        while not self._exposures.acquire(timeout=0.005) and not self.is_streaming:
            if self.gone:
                return False, None
        if self.gone:
            return False, None
        self.shown += 1
        return True, np.full((8, 8, 3), self.shown % 256, np.uint8)

    def release(self) -> None:
        self.releases += 1
