"""The journal: an SQLite file that has exactly one final record for each accepted part.

What a future tells as done is on the disk.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

from adcopilot_edge.errors import JournalError
from adcopilot_edge.runtime.daemon.journal_file import connect, open_journal
from adcopilot_edge.runtime.daemon.journal_writer import Change, JournalWriter
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part, iso_time

_FORGOTTEN_AT_ONCE = 500  # old records of one commit, so that no part waits long for it


class Journal:
    """The parts, outboxes, reviews and audit trail of one daemon. May be shared by threads.

    on_trouble: told in words when a write fails, and None when one works again. open_connection: of
    the writer.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_trouble: Callable[[str | None], None] = lambda words: None,
        open_connection: Callable[[Path], sqlite3.Connection] = connect,
    ) -> None:
        self.path = path
        self._lock = threading.Lock()
        with closing(open_journal(path)) as connection:
            row = connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name='parts'"
            ).fetchone()
            facts = connection.execute("SELECT name, value FROM facts").fetchall()
            newest = connection.execute(
                "SELECT received_at FROM parts ORDER BY id DESC LIMIT 1"
            ).fetchone()
        self._last_id: int = row[0] if row else 0
        self._facts: dict[str, str] = dict(map(tuple, facts))
        self.newest_at_start: float | None = newest[0] if newest else None
        self._writer = JournalWriter(
            lambda: open_connection(path), where=str(path), probe=_probe, on_trouble=on_trouble
        )

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

        Raises (in the future) JournalError when the disk is full or does not write, and after
        ``close``.
        """
        return self._writer.write(change)

    def on_commit(self, listener: Callable[[float], None]) -> None:
        """Tell ``listener`` the seconds of each commit, in the writer's thread."""
        self._writer.on_commit = listener

    def is_moving(self, within_s: float) -> bool:
        """Whether the writer comes to the end of what waits now, in that time; writes nothing."""
        return self._writer.is_moving(within_s)

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
        value = self._facts.get(name)
        return None if value is None else json.loads(value)

    def set_fact(self, name: str, value: Any) -> Future[Any]:
        """Keep a value of JSON; ``fact`` has it once it is on the disk."""
        text = json.dumps(value)
        return self._writer.write(
            lambda c: _set_facts(c, {name: text}), then=lambda: self._facts.update({name: text})
        )

    def forget_images(self, names: Sequence[str]) -> Future[Any]:
        """Have no record name an image that is gone. names: as ``FinalRecord.image_file``."""
        return self.write(
            lambda c: c.executemany(
                "UPDATE parts SET image_file = NULL,"
                " record = json_set(record, '$.image_file', NULL) WHERE id = ? AND image_file = ?",
                [(number, name) for name in names if (number := _number(name)) is not None],
            )
        )

    def forget_before(self, moment: float) -> Future[Any]:
        """Remove some of the oldest records, with their reviews, that were final before ``moment``.

        The future has how many. Those that an output has yet to be told of stay.
        """
        return self.write(lambda c: _forget(c, moment))

    def audit(self, who: str, action: str, **details: Any) -> Future[Any]:
        """Add a line to the audit trail."""
        return self.decide(who, action, {}, **details)

    def decide(
        self, who: str, action: str, facts: Mapping[str, Any], **details: Any
    ) -> Future[Any]:
        """Keep values of JSON and say in the audit trail who did that, in one commit."""
        texts = {name: json.dumps(value) for name, value in facts.items()}
        row = (time.time(), who, action, json.dumps(details))

        def change(connection: sqlite3.Connection) -> None:
            _set_facts(connection, texts)
            connection.execute(
                "INSERT INTO audit (at, who, action, details) VALUES (?, ?, ?, ?)", row
            )

        return self._writer.write(change, then=lambda: self._facts.update(texts))

    def read(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query, on a connection of its own that can't write. Raises JournalError."""
        try:
            with closing(connect(self.path)) as connection:
                connection.execute("PRAGMA query_only = ON")
                return [dict(row) for row in connection.execute(query, values)]
        except sqlite3.Error as err:
            raise JournalError(f"{self.path} can't be read: {err}") from err

    def close(self) -> None:
        """Write what waits, and stop."""
        self._writer.close()


def _number(name: str) -> int | None:
    """The part of an image's name, None where it is another kind of file."""
    digits = Path(name).stem
    return int(digits) if digits.isdecimal() else None


def _set_facts(connection: sqlite3.Connection, texts: Mapping[str, str]) -> None:
    connection.executemany(
        "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
        [*texts.items()],
    )


def _probe(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO facts VALUES ('journal_probe', ?)"
        " ON CONFLICT DO UPDATE SET value = excluded.value",
        (json.dumps(time.time()),),
    )


def _forget(connection: sqlite3.Connection, moment: float) -> int:
    rows = connection.execute(
        "SELECT id FROM (SELECT id, finished_at FROM parts ORDER BY id LIMIT ?)"
        " WHERE finished_at < ? AND id NOT IN (SELECT part FROM outbox)",
        (_FORGOTTEN_AT_ONCE, moment),
    ).fetchall()
    numbers = [tuple(row) for row in rows]
    connection.executemany("DELETE FROM reviews WHERE part = ?", numbers)
    connection.executemany("DELETE FROM parts WHERE id = ?", numbers)
    return len(numbers)


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
