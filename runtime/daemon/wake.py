"""A bell that one thread waits for beside a pipe, and any thread rings."""

from __future__ import annotations

import socket
from contextlib import suppress


class Wake:
    """Rung any number of times, it is heard at least once. Ringing never blocks."""

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def fileno(self) -> int:
        """What is readable once it was rung; for ``multiprocessing.connection.wait``."""
        return self._here.fileno()

    def ring(self) -> None:
        """Wake who waits; nothing after ``close``."""
        with suppress(OSError):  # full: it is rung already
            self._there.send(b"x")

    def hear(self) -> None:
        """Take in what was rung."""
        with suppress(BlockingIOError):
            while len(self._here.recv(4096)) == 4096:
                pass

    def close(self) -> None:
        """Nobody waits any more."""
        self._here.close()
        self._there.close()
