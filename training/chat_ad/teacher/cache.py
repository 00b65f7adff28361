"""Answers of a teacher on disk, known by all that they depend on; an answer is there once given.

SQLite keeps what was written through a kill. Knows no pair and judges nothing.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from adcopilot_edge.errors import ConfigError

CACHE_FILE = "cache.sqlite"
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, finish TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL
) WITHOUT ROWID
"""
_WAIT_S = 30.0  # for another process that writes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What a teacher answered. finish: why it ended, ``stop`` or ``length`` for most servers."""

    text: str
    finish: str
    tokens_in: int = 0
    tokens_out: int = 0


def answer_key(parts: Mapping[str, Any]) -> str:
    """The hash of plain JSON values: model, words of the request, hashes of pictures, sampling."""
    raw = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(raw.encode()).hexdigest()


class AnswerCache:
    """The answers in a folder.

    ::

        with AnswerCache(folder) as cache:
            if (answer := cache.find(key)) is None:
                cache.keep(key, ask())

    Raises:
        ConfigError: The folder can't be written, or the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / CACHE_FILE
        self._database: sqlite3.Connection | None = None

    def __enter__(self) -> AnswerCache:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(_TABLE)
        except (OSError, sqlite3.Error) as err:
            self.__exit__(None, None, None)
            raise self._broken(err) from err
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def find(self, key: str) -> StoredAnswer | None:
        """The answer under a key, or None."""
        row = self._run(
            "SELECT text, finish, tokens_in, tokens_out FROM answers WHERE key = ?", (key,)
        )
        if row is None:
            return None
        text, finish, tokens_in, tokens_out = row
        return StoredAnswer(text=text, finish=finish, tokens_in=tokens_in, tokens_out=tokens_out)

    def keys(self) -> frozenset[str]:
        """What there are answers to."""
        assert self._database is not None
        try:
            return frozenset(row[0] for row in self._database.execute("SELECT key FROM answers"))
        except sqlite3.Error as err:
            raise self._broken(err) from err

    def keep(self, key: str, answer: StoredAnswer) -> None:
        """Store an answer; it outlives the process when this returns."""
        self._run(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
            (key, answer.text, answer.finish, answer.tokens_in, answer.tokens_out),
        )

    def _run(self, command: str, values: tuple[Any, ...]) -> Any:
        assert self._database is not None
        try:
            return self._database.execute(command, values).fetchone()
        except sqlite3.Error as err:
            raise self._broken(err) from err

    def _broken(self, err: Exception) -> ConfigError:
        return ConfigError(
            f"can't use the teacher's answers in {self.path}: {err}. Choose another folder, or "
            "remove the file, and all is asked again"
        )
