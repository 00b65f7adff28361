"""A thread that always has a camera's newest frame, and opens the camera again when it is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from adcopilot_edge.runtime.daemon.inputs.capture import (
    CameraError,
    Capture,
    OpenCapture,
    Pixels,
)

_FIRST_RETRY_S, _MOST_RETRY_S = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame. asked_at: when waiting for it began, by the monotonic clock: it is not older."""

    pixels: Pixels
    asked_at: float


class FrameReader:
    """Reads a camera without a pause, so that no old frame waits in a buffer.

    on_problem: told in words that there are no frames, and None with the first after that.
    """

    def __init__(
        self,
        open_capture: OpenCapture,
        on_problem: Callable[[str | None], None],
        *,
        first_retry_s: float = _FIRST_RETRY_S,
    ) -> None:
        self._open = open_capture
        self._on_problem = on_problem
        self._first_retry_s = first_retry_s
        self._retry_s = first_retry_s
        self._newest: Frame | None = None
        self._news = threading.Condition()
        self._over = threading.Event()
        self.problem: str | None = None
        self.frames = 0
        self.openings = 0
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._started_at = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Stop after the frame that it waits for."""
        self._over.set()
        with self._news:
            self._news.notify_all()

    def join(self, seconds: float) -> bool:
        """Wait until it has stopped; whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def since_frame_s(self) -> float:
        """How long ago the newest frame was asked for, or the start where there was none."""
        newest = self._newest
        return time.monotonic() - (self._started_at if newest is None else newest.asked_at)

    def frame_after(self, moment: float, until: float) -> Pixels | None:
        """The first frame that was asked for at ``moment`` or later, None without one by ``until``.

        Both by the monotonic clock, in seconds. None also as soon as the camera is gone.
        """
        with self._news:
            while not self._over.is_set():
                newest = self._newest
                if newest is not None and newest.asked_at >= moment:
                    return newest.pixels
                left = until - time.monotonic()
                if left <= 0 or self.problem is not None:
                    return None
                self._news.wait(left)
        return None

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._live()
            except CameraError as err:
                self._tell(str(err))
            except Exception as err:  # of a driver or a decoder; the thread must live
                self._tell(f"{type(err).__name__}: {err}")
            self._over.wait(self._retry_s)
            self._retry_s = min(2 * self._retry_s, _MOST_RETRY_S)

    def _live(self) -> None:
        capture = self._open()
        self.openings += 1
        try:
            self._read(capture)
        finally:
            capture.release()

    def _read(self, capture: Capture) -> None:
        while not self._over.is_set():
            asked_at = time.monotonic()
            is_there, pixels = capture.read()
            if not is_there or pixels is None:
                self._tell("it gives no more frames")
                return
            self._retry_s = self._first_retry_s
            self._tell(None)
            with self._news:
                self._newest = Frame(pixels, asked_at)
                self.frames += 1
                self._news.notify_all()

    def _tell(self, problem: str | None) -> None:
        if problem != self.problem:
            with self._news:
                self.problem = problem
                self._news.notify_all()
            self._on_problem(problem)
