"""The file of the journal: made, opened and checked. Knows nothing of parts.

It is in WAL mode, and a commit is on the disk when it returns.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from adcopilot_edge.errors import JournalError

# Each takes a journal from one version to the next, in order.
_STEPS = ("schema.sql", "shadow.sql")
VERSION = len(_STEPS)
_BUSY_MS = 5000
# Pages of the write-ahead log from which a commit moves them into the file by itself; the writer
# does so before, in an idle moment.
_CHECKPOINT_PAGES = 4000
_WAL_LIMIT_BYTES = 16 << 20
# A check reads all of the file: about a second for this much, with which no start must be late.
_CHECKED_AT_START_BYTES = 256 << 20


def open_journal(path: Path) -> sqlite3.Connection:
    """Open a journal, or make one. Raises JournalError for one that is damaged or too new."""
    connection = None
    try:
        connection = connect(path)
        _prepare(connection, path)
    except (JournalError, sqlite3.Error) as err:
        if connection is not None:
            connection.close()
        if isinstance(err, JournalError):
            raise
        raise JournalError(
            f"{path} can't be opened: {err}. Restore it from a copy, or move it away"
        ) from err
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise JournalError(
            f"{path} is of version {version}, and this release reads {VERSION}. Move it away, "
            "or use the release that wrote it"
        )
    for number, name in enumerate(_STEPS[version:], start=version + 1):
        step = files("adcopilot_edge.runtime.daemon").joinpath(name).read_text()
        connection.executescript(f"BEGIN;\n{step}\nPRAGMA user_version = {number};\nCOMMIT;")
    if path.stat().st_size <= _CHECKED_AT_START_BYTES and (wrong := damage(connection)):
        raise JournalError(f"{path} is damaged: {wrong}. Restore it from a copy, or move it away")


def connect(path: Path) -> sqlite3.Connection:
    """A connection that flushes each commit; its rows have names."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def damage(connection: sqlite3.Connection) -> str | None:
    """The first thing that is wrong with the file, or None. Reads all of it."""
    found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return None if found == "ok" else found


def unchecked_damage(path: Path) -> str | None:
    """What a start left to be looked at later: the damage of a large journal, or None."""
    try:
        if path.stat().st_size <= _CHECKED_AT_START_BYTES:
            return None
        with closing(connect(path)) as connection:
            return damage(connection)
    except sqlite3.Error as err:
        return str(err)
