"""A bell that one thread waits for beside a pipe, and any thread rings."""

from __future__ import annotations

import socket
from contextlib import suppress


class Wake:
    """Rung any number of times, it is heard at least once. Ringing never blocks.

    Before ``open`` and after ``close`` nobody waits, and ringing does nothing.
    """

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        """From now on it is heard."""
        self._ends = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)

    def fileno(self) -> int:
        """What is readable once it was rung; for ``multiprocessing.connection.wait``."""
        assert self._ends is not None
        return self._ends[0].fileno()

    def ring(self) -> None:
        """Wake who waits."""
        ends = self._ends
        if ends is not None:
            with suppress(OSError):  # full: it is rung already; or closed meanwhile
                ends[1].send(b"x")

    def hear(self) -> None:
        """Take in what was rung."""
        assert self._ends is not None
        with suppress(BlockingIOError):
            while len(self._ends[0].recv(4096)) == 4096:
                pass

    def close(self) -> None:
        """Nobody waits any more."""
        ends, self._ends = self._ends, None
        for end in ends or ():
            end.close()
