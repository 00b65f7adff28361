"""One at a time: a lock that tells a thread when it waits for itself. Knows nothing of the work."""

from __future__ import annotations

import threading

from adcopilot_edge.errors import InferenceError


class Turns:
    """A context manager that one thread holds at a time; the others wait.

    A stream holds it between its events, and another thread may close that stream.

    Raises:
        InferenceError: The thread holds it already, so that it would wait for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None

    def __enter__(self) -> None:
        if self._holder == threading.get_ident():
            raise InferenceError(
                "a stream of this inspector is still open in this thread. Read it to its end, or "
                "close() it before the next call"
            )
        self._lock.acquire()
        self._holder = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._holder = None
        self._lock.release()
