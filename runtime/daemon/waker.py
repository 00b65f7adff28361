"""Wakes a thread that waits for connections."""

from __future__ import annotations

import os
import threading
from contextlib import suppress


class Waker:
    """Something to wait for beside connections, as with ``multiprocessing.connection.wait``.

    Waking one that is closed does nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_closed = False

    def fileno(self) -> int:
        """What becomes readable."""
        return self._read

    def wake(self) -> None:
        """Wake the thread; may be called from any other."""
        with self._lock, suppress(BlockingIOError):  # full of calls to wake: it will
            if not self._is_closed:
                os.write(self._write, b"x")

    def clear(self) -> None:
        """Forget all calls to wake so far."""
        with suppress(BlockingIOError):
            os.read(self._read, 4096)

    def close(self) -> None:
        """Give back what it holds."""
        with self._lock:
            self._is_closed = True
            os.close(self._read)
            os.close(self._write)
