"""The outbox of one output: records that wait on the disk, oldest first."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.outputs.message import Message

_MARK = "journal_mark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits. oldest_at: when the oldest was final, seconds since 1970; None without one."""

    waiting: int
    oldest_at: float | None


class Outbox:
    """What one output has yet to be told. Rows come in with the final record, in its commit.

    Every method raises JournalError when the disk does not read or write.
    """

    def __init__(self, journal: Journal, output: str, mark: str) -> None:
        self.output = output
        self._journal = journal
        self._mark = mark

    def oldest(self, limit: int) -> list[Message]:
        """Up to ``limit`` that wait, in order of parts."""
        rows = self._journal.read(
            "SELECT outbox.part AS part, record FROM outbox JOIN parts ON parts.id = outbox.part"
            " WHERE output = ? ORDER BY outbox.part LIMIT ?",
            *(self.output, limit),
        )
        return [
            Message(number=row["part"], journal=self._mark, record=json.loads(row["record"]))
            for row in rows
        ]

    def backlog(self) -> Backlog:
        """How many wait, and since when."""
        (row,) = self._journal.read(
            "SELECT waiting, (SELECT finished_at FROM parts WHERE id = oldest) AS oldest_at FROM"
            " (SELECT count(*) AS waiting, min(part) AS oldest FROM outbox WHERE output = ?)",
            self.output,
        )
        return Backlog(waiting=row["waiting"], oldest_at=row["oldest_at"])

    def confirm(self, parts: Iterable[int]) -> None:
        """Take out parts that the output has; on the disk when this returns."""
        rows = [(self.output, part) for part in parts]
        self._journal.write(lambda connection: _delete(connection, rows)).result()

    def give_up(self, part: int) -> None:
        """Take out a part that the output will never be told of, and count it."""
        rows = [(self.output, part)]
        self._journal.write(self._counted(lambda connection: _delete(connection, rows))).result()

    def trim(self, keep: int) -> int:
        """Take out all but the newest ``keep``, count them, and tell how many they were."""

        def cut(connection: sqlite3.Connection) -> int:
            return connection.execute(
                "DELETE FROM outbox WHERE output = ? AND part <= (SELECT part FROM outbox"
                " WHERE output = ? ORDER BY part DESC LIMIT 1 OFFSET ?)",
                (self.output, self.output, keep),
            ).rowcount

        removed: int = self._journal.write(self._counted(cut)).result()
        return removed

    def given_up(self) -> int:
        """How many were taken out untold since the journal was made."""
        return self._journal.fact(self._counter) or 0

    @property
    def _counter(self) -> str:
        return f"outputs_given_up:{self.output}"

    def _counted(
        self, change: Callable[[sqlite3.Connection], int]
    ) -> Callable[[sqlite3.Connection], int]:
        """The change, with what it took out added to the count in the same commit."""

        def both(connection: sqlite3.Connection) -> int:
            removed = change(connection)
            connection.execute(
                "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE"
                " SET value = CAST(value AS INTEGER) + excluded.value",
                (self._counter, str(removed)),
            )
            return removed

        return both


def journal_mark(journal: Journal) -> str:
    """Eight hexadecimal digits by chance that mark this journal, the same at every start."""
    found = journal.fact(_MARK)
    if found is None:
        found = secrets.token_hex(4)
        journal.set_fact(_MARK, found).result()
    return str(found)


def waiting_by_output(journal: Journal) -> dict[str, int]:
    """How many records wait for each output, also for those that are no longer there."""
    rows = journal.read("SELECT output, count(*) AS waiting FROM outbox GROUP BY output")
    return {row["output"]: row["waiting"] for row in rows}


def _delete(connection: sqlite3.Connection, rows: list[tuple[str, int]]) -> int:
    return connection.executemany("DELETE FROM outbox WHERE output = ? AND part = ?", rows).rowcount
