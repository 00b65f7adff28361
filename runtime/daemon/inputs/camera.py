"""A camera: at a trigger the next frame becomes a part; without one the part is uncertain."""

from __future__ import annotations

import threading
import time
from typing import Any

from adcopilot_edge.errors import DaemonError, NotReadyError, QueueFullError
from adcopilot_edge.runtime.daemon.inputs.capture import OpenCapture, lossless, shown
from adcopilot_edge.runtime.daemon.inputs.frame_reader import FrameReader
from adcopilot_edge.runtime.daemon.inputs.settings import CameraSettings
from adcopilot_edge.runtime.daemon.part import Reason
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.ticket import Ticket

_LOOK_S = 1.0


class CameraInput:
    """One camera. open_capture: what opens it."""

    def __init__(
        self,
        settings: CameraSettings,
        open_capture: OpenCapture,
        *,
        first_retry_s: float = 0.5,
    ) -> None:
        self.name, self.source = settings.name, settings.source
        self.trigger_kind = settings.trigger
        self._settings = settings
        self._reader = FrameReader(open_capture, self._set_problem, first_retry_s=first_retry_s)
        self._stopping = threading.Event()
        self._daemon: StationDaemon | None = None
        self._problem: str | None = "it was not started"
        self._lock = threading.Lock()
        self._counts = {"triggers": 0, "accepted": 0, "gone": 0, "refused": 0, "skipped": 0}
        self._thread = threading.Thread(target=self._run, name=self.source, daemon=True)

    def start(self, daemon: StationDaemon) -> None:
        """Begin to read frames, and to trigger where that is its own to do."""
        self._daemon = daemon
        self._problem = None
        self._reader.start()
        self._thread.start()

    def stop(self) -> None:
        """Take no more parts, and let the camera go."""
        self._stopping.set()
        self._reader.stop()

    def join(self, seconds: float) -> bool:
        """Wait until the camera is closed; whether it is."""
        end = time.monotonic() + seconds
        self._thread.join(seconds)
        return self._reader.join(max(0.0, end - time.monotonic()))

    def to_json(self) -> dict[str, Any]:
        """The state: whether there are frames, and what came of the triggers since the start."""
        return {
            "name": self.name,
            "kind": "camera",
            "station": self._settings.station,
            "is_well": self._problem is None,
            "problem": self._problem,
            "frames": self._reader.frames,
            "openings": self._reader.openings,
            **self._counts,
        }

    def trigger(self, *, reference: str | None = None, product: str | None = None) -> Ticket:
        """Make the next frame a part; without one in time the part is ``uncertain`` at once.

        Waits for the frame, at most ``max_wait_ms``. No frame that was there before is used.

        Raises:
            ConfigError: There is no such product.
            NotReadyError: No part is taken now.
            QueueFullError: As many wait as may.
        """
        if self._daemon is None or self._stopping.is_set():
            raise self._no_parts()
        at = self._settings
        self._count("triggers")
        self._daemon.settings.product(product or self._daemon.product_of(at.station))
        image = self._next_frame()
        if image is None:
            self._count("gone")
            return self._end("camera_gone", self._why_no_frame(), reference, product)
        ticket = self._daemon.submit(
            image,
            source=self.source,
            station=at.station,
            product=product,
            reference=reference,
        )
        self._count("accepted")
        return ticket

    def picture(self) -> bytes:
        """The next frame as the file that a trigger would make of it; nothing is inspected.

        Waits as ``trigger`` does. Raises NotReadyError when there is no frame.
        """
        if self._daemon is None or self._stopping.is_set():
            raise self._no_parts()
        image = self._next_frame()
        if image is None:
            raise NotReadyError(self._why_no_frame(), retry_after_s=1.0)
        return image

    def _next_frame(self) -> bytes | None:
        """The first frame that begins after now, None where none comes in time."""
        at, now = self._settings, time.monotonic()
        pixels = self._reader.frame_after(now + at.latency_ms / 1000, now + at.max_wait_ms / 1000)
        return None if pixels is None else lossless(pixels)

    def _no_parts(self) -> NotReadyError:
        return NotReadyError(f"the camera {self.name} takes no parts now", retry_after_s=1.0)

    def _count(self, name: str, number: int = 1) -> None:
        with self._lock:
            self._counts[name] += number

    def _end(
        self,
        reason: Reason,
        detail: str,
        reference: str | None = None,
        product: str | None = None,
    ) -> Ticket:
        assert self._daemon is not None
        return self._daemon.end_unseen(
            reason,
            detail,
            source=self.source,
            station=self._settings.station,
            product=product,
            reference=reference,
        )

    def _why_no_frame(self) -> str:
        words = self._reader.problem or f"no frame within {self._settings.max_wait_ms:g} ms"
        return f"the camera {self.name} ({shown(self._settings)}): {words}"

    def _run(self) -> None:
        """Look after the camera, and trigger it every ``interval_s`` where it has one."""
        interval = self._settings.interval_s
        begin, number = time.monotonic(), 1
        while True:
            until = begin + number * interval if interval is not None else None
            left = _LOOK_S if until is None else min(_LOOK_S, until - time.monotonic())
            if self._stopping.wait(max(0.0, left)):
                return
            self._look()
            now = time.monotonic()
            if interval is None or until is None or now < until:
                continue
            self._trigger_by_clock()
            late = int((time.monotonic() - begin) / interval) - number
            self._count("skipped", max(0, late))
            number += 1 + max(0, late)

    def _trigger_by_clock(self) -> None:
        """Trigger; nobody waits for an answer, so a part that can't be taken must end here."""
        try:
            self.trigger()
        except QueueFullError as err:
            self._count("refused")
            self._end_refused(str(err))
        except DaemonError:  # it is not ready, which everybody is told
            self._count("refused")

    def _end_refused(self, detail: str) -> None:
        try:
            self._end("queue_full", detail)
        except NotReadyError:
            return

    def _look(self) -> None:
        """Raise the alarm when a camera that says nothing is wrong gives no frames."""
        if self._reader.problem is None and self._reader.since_frame_s() > self._settings.silent_s:
            self._set_problem(f"no frame for {self._settings.silent_s:g} s")
        elif self._reader.problem is None and self._problem is not None:
            self._set_problem(None)

    def _set_problem(self, problem: str | None) -> None:
        self._problem = problem
        assert self._daemon is not None
        words = None if problem is None else f"{shown(self._settings)}: {problem}"
        self._daemon.alarms.set(self.source, words)
