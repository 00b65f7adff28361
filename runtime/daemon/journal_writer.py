"""The one thread that writes the journal, in the order it is told to.

Changes that wait share one commit. What a future tells as done is on the disk. While the disk does
not write, a probe finds out when it does again.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

from adcopilot_edge.errors import JournalError

_LOG = logging.getLogger(__name__)
_MAX_SHARED = 64  # changes of one commit
_PROBE_S = 1.0
_COMMITS_BETWEEN_CHECKPOINTS = 500

Change = Callable[[sqlite3.Connection], Any]


def _future() -> Future[Any]:
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()  # nobody who waits may cancel what is written
    return future


@dataclass(slots=True)
class _Waiting:
    change: Change | None
    then: Callable[[], None]
    done: Future[Any] = field(default_factory=_future)


class JournalWriter:
    """Writes until it is closed. May be shared by threads.

    connect: opens the journal. where: its name in messages. probe: a change that writes a little.
    on_trouble: told in words when a write fails, and None when one works again. on_commit: told the
    seconds of each commit.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        where: str,
        probe: Change,
        on_trouble: Callable[[str | None], None],
    ) -> None:
        self._connect = connect
        self._where = where
        self._probe_change = probe
        self._on_trouble = on_trouble
        self.on_commit: Callable[[float], None] = lambda seconds: None
        self._in_trouble = False
        self._commits = 0
        self._lock = threading.Lock()
        self._is_closed = False
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._connection = connect()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def write(self, change: Change, then: Callable[[], None] = lambda: None) -> Future[Any]:
        """Do ``change`` in the writer's thread; the future has its result once it is on the disk.

        then: called in that thread before the future is done. Raises (in the future) JournalError
        when the disk is full or does not write, and after ``close``; what ``change`` raises else.
        """
        waiting = _Waiting(change, then)
        with self._lock:
            if not self._is_closed:
                self._waiting.put(waiting)
                return waiting.done
        waiting.done.set_exception(JournalError(f"{self._where} is closed"))
        return waiting.done

    def is_moving(self, within_s: float) -> bool:
        """Whether it comes to the end of what waits now, in that time; nothing is written."""
        waiting = _Waiting(None, lambda: None)
        with self._lock:
            if self._is_closed:
                return False
            self._waiting.put(waiting)
        return not wait([waiting.done], within_s).not_done

    def close(self) -> None:
        """Write what waits, and stop."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_over = False
        while not is_over:
            try:
                batch = [self._waiting.get(timeout=_PROBE_S if self._in_trouble else None)]
            except queue.Empty:
                self._probe()
                continue
            while len(batch) < _MAX_SHARED and not self._waiting.empty():
                batch.append(self._waiting.get())
            is_over = None in batch
            found = [item for item in batch if item is not None]
            self._commit([item for item in found if item.change is not None])
            for item in found:
                if item.change is None:
                    item.done.set_result(None)
            self._tidy()
        self._connection.close()

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        connection, began = self._connection, time.monotonic()
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [item.change(connection) for item in batch if item.change is not None]
            connection.execute("COMMIT")
        except Exception as err:  # one bad change must not take the others with it
            self._roll_back()
            if len(batch) > 1:
                for item in batch:
                    self._commit([item])
                return
            self._fail(batch[0], err)
            return
        self._commits += 1
        self.on_commit(time.monotonic() - began)
        self._tell(None)
        for item, result in zip(batch, results, strict=True):
            item.then()
            item.done.set_result(result)

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as err:
            _LOG.error("%s: the change can't be undone: %s", self._where, err)

    def _fail(self, item: _Waiting, error: Exception) -> None:
        if not _is_of_disk(error):
            item.done.set_exception(error)
            return
        words = f"{self._where} can't be written: {error}"
        self._tell(words)
        failed = JournalError(words)
        failed.__cause__ = error
        item.done.set_exception(failed)

    def _tell(self, words: str | None) -> None:
        if words is None and not self._in_trouble:
            return
        self._in_trouble = words is not None
        try:
            self._on_trouble(words)
        except Exception:
            _LOG.exception("who is told of the journal's trouble")

    def _probe(self) -> None:
        """See whether the disk writes again, with a connection of its own."""
        try:
            connection = self._connect()
        except sqlite3.Error as err:
            self._tell(f"{self._where} can't be opened: {err}")
            return
        before, self._connection = self._connection, connection
        before.close()
        self._commit([_Waiting(self._probe_change, lambda: None)])

    def _tidy(self) -> None:
        """Move the write-ahead log into the file in an idle moment, before it gets long."""
        if self._commits < _COMMITS_BETWEEN_CHECKPOINTS or not self._waiting.empty():
            return
        self._commits = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as err:
            self._tell(f"{self._where} can't be written: {err}")


def _is_of_disk(error: Exception) -> bool:
    """Whether it is the disk's or the file's fault, and not that of the change."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
    )
