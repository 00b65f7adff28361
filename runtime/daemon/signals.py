"""Signals as calls in a thread of their own.

A handler may interrupt the main thread anywhere, also while that holds a lock; so it only rings.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType


class Signals:
    """Calls ``on_signal`` with how many have come, 1 for the first; for the main thread to make."""

    def __init__(self, numbers: Iterable[int], on_signal: Callable[[int], None]) -> None:
        self._on_signal = on_signal
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        threading.Thread(target=self._run, name="signals", daemon=True).start()
        for number in numbers:
            signal.signal(number, self._ring)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        os.write(self._write, b"x")

    def _run(self) -> None:
        count = 0
        while os.read(self._read, 1):
            count += 1
            self._on_signal(count)
