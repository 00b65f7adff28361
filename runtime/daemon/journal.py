"""The journal: an SQLite file in WAL mode that has exactly one final record for each accepted part.

One thread writes, in the order it is told to, and many changes that wait share one commit. What a
future tells as done is on the disk.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from adcopilot_edge.errors import JournalError
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part, iso_time

VERSION = 1
_MAX_SHARED = 64  # changes of one commit
_BUSY_MS = 5000

Change = Callable[[sqlite3.Connection], Any]


@dataclass(slots=True)
class _Waiting:
    change: Change
    done: Future[Any]


class Journal:
    """The parts, outboxes, reviews and audit trail of one daemon. May be shared by threads.

    on_trouble: told in words when a write fails, and None when one works again. on_commit: told the
    seconds of each commit.
    """

    def __init__(
        self, path: Path, *, on_trouble: Callable[[str | None], None] = lambda words: None
    ) -> None:
        self.path = path
        self._on_trouble = on_trouble
        self.on_commit: Callable[[float], None] = lambda seconds: None
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        with closing(open_journal(path)) as connection:
            row = connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name='parts'"
            ).fetchone()
        self._last_id: int = row[0] if row else 0
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def next_id(self) -> int:
        """A number for a part, higher than any before."""
        with self._lock:
            self._last_id += 1
            return self._last_id

    def accept(self, number: int, part: Part, received_at: float, sha256: str) -> Future[Any]:
        """Note that a part was accepted."""
        row = (number, part.station, part.product, part.source, part.reference)
        return self.write(
            lambda c: c.execute(
                "INSERT INTO parts (id, station, product, source, reference, received_at,"
                " image_sha256) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*row, received_at, sha256),
            )
        )

    def finish(self, record: FinalRecord, outputs: Iterable[str] = ()) -> Future[Any]:
        """Make a record the final one of its part, and put it in the outboxes, in one commit.

        A part that is final stays as it is: the result is False then, and True otherwise.
        """
        names = tuple(outputs)

        def change(connection: sqlite3.Connection) -> bool:
            return _finish(connection, record, names)

        return self.write(change)

    def write(self, change: Change) -> Future[Any]:
        """Do ``change`` in the writer's thread; the future has its result once it is on the disk.

        Raises (in the future) JournalError when the disk is full or does not write.
        """
        waiting = _Waiting(change, Future())
        self._waiting.put(waiting)
        return waiting.done

    def open_parts(self) -> list[dict[str, Any]]:
        """The accepted parts without a final record, oldest first."""
        return self.read(
            "SELECT id, station, product, source, reference, received_at, image_sha256"
            " FROM parts WHERE verdict IS NULL ORDER BY id"
        )

    def record(self, number: int) -> dict[str, Any] | None:
        """The final record of a part as JSON has it, or None."""
        rows = self.read("SELECT record FROM parts WHERE id = ? AND verdict IS NOT NULL", number)
        return json.loads(rows[0]["record"]) if rows else None

    def fact(self, name: str) -> Any:
        """A value that outlives a start, or None."""
        rows = self.read("SELECT value FROM facts WHERE name = ?", name)
        return json.loads(rows[0]["value"]) if rows else None

    def set_fact(self, name: str, value: Any) -> Future[Any]:
        """Keep a value of JSON."""
        return self.write(
            lambda c: c.execute(
                "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (name, json.dumps(value)),
            )
        )

    def audit(self, who: str, action: str, **details: Any) -> Future[Any]:
        """Add a line to the audit trail."""
        return self.write(
            lambda c: c.execute(
                "INSERT INTO audit (at, who, action, details) VALUES (?, ?, ?, ?)",
                (time.time(), who, action, json.dumps(details)),
            )
        )

    def read(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query, on a connection of its own that can't write. Raises JournalError."""
        try:
            with closing(_connect(self.path)) as connection:
                connection.execute("PRAGMA query_only = ON")
                return [dict(row) for row in connection.execute(query, values)]
        except sqlite3.Error as err:
            raise JournalError(f"{self.path} can't be read: {err}") from err

    def is_moving(self, within_s: float) -> bool:
        """Whether the writer comes to the end of what waits now, in that time; writes nothing."""
        waiting = _Waiting(_nothing, Future())
        self._waiting.put(waiting)
        return not wait([waiting.done], within_s).not_done

    def close(self) -> None:
        """Write what waits, and stop."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection = _connect(self.path)
        is_over = False
        while not is_over:
            batch = [self._waiting.get()]
            while len(batch) < _MAX_SHARED and not self._waiting.empty():
                batch.append(self._waiting.get())
            is_over = None in batch
            found = [item for item in batch if item is not None]
            self._commit(connection, [item for item in found if item.change is not _nothing])
            for item in found:
                if item.change is _nothing:
                    item.done.set_result(None)
        connection.close()

    def _commit(self, connection: sqlite3.Connection, batch: list[_Waiting]) -> None:
        if not batch:
            return
        started = time.monotonic()
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [item.change(connection) for item in batch]
            connection.execute("COMMIT")
        except Exception as err:  # one bad change must not take the others with it
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(batch) > 1:
                for item in batch:
                    self._commit(connection, [item])
                return
            self._fail(batch[0], err)
            return
        self._on_trouble(None)
        self.on_commit(time.monotonic() - started)
        for item, result in zip(batch, results, strict=True):
            item.done.set_result(result)

    def _fail(self, item: _Waiting, error: Exception) -> None:
        if not isinstance(error, sqlite3.Error):
            item.done.set_exception(error)
            return
        words = f"{self.path} can't be written: {error}"
        self._on_trouble(words)
        item.done.set_exception(JournalError(words))


def _nothing(connection: sqlite3.Connection) -> None:
    """No change; told as done when the writer comes to it."""


def open_journal(path: Path) -> sqlite3.Connection:
    """Open a journal, or make one. Raises JournalError for one that is damaged or too new."""
    try:
        connection = _connect(path)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            schema = files("adcopilot_edge.runtime.daemon").joinpath("schema.sql").read_text()
            connection.executescript(f"BEGIN;\n{schema}\nPRAGMA user_version = {VERSION};\nCOMMIT;")
        elif version != VERSION:
            raise JournalError(
                f"{path} is of version {version}, and this release reads {VERSION}. Move it away, "
                "or use the release that wrote it"
            )
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise JournalError(
                f"{path} is damaged: {found}. Restore it from a copy, or move it away"
            )
    except sqlite3.Error as err:
        raise JournalError(f"{path} can't be opened: {err}") from err
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _finish(connection: sqlite3.Connection, record: FinalRecord, outputs: tuple[str, ...]) -> bool:
    changed = connection.execute(
        "UPDATE parts SET verdict = ?, finished_at = ?, reason = ?, score = ?, image_file = ?,"
        " record = ? WHERE id = ? AND verdict IS NULL",
        (
            *(record.verdict, record.finished_at, record.reason, record.score, record.image_file),
            *(json.dumps(record.to_json()), record.id),
        ),
    ).rowcount
    if changed:
        connection.executemany(
            "INSERT INTO outbox (output, part) VALUES (?, ?)",
            [(name, record.id) for name in outputs],
        )
    return bool(changed)


def interrupted_record(row: dict[str, Any], finished_at: float) -> FinalRecord:
    """The final record of an accepted part whose daemon ended before it was done."""
    return FinalRecord(
        id=row["id"],
        station=row["station"],
        product=row["product"],
        source=row["source"],
        reference=row["reference"],
        received_at=row["received_at"],
        finished_at=finished_at,
        verdict="uncertain",
        reason="interrupted",
        detail=f"the daemon ended while the part of {iso_time(row['received_at'])} was inspected",
        image_sha256=row["image_sha256"],
    )
