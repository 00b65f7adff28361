"""What failed, for a person to look at: one JSON line each, and nothing twice.

A line is written whole, at once. Knows neither checks nor endpoint, and nothing here enters a set.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from adcopilot_edge.errors import ConfigError

REVIEW_FILE = "review.jsonl"


class ReviewFile:
    """The lines of a folder's review file, those of earlier runs included.

    A run that is started again judges the same answers again; what it finds is in the file already
    and is not written a second time. A last line that a kill cut short is dropped.

    Raises:
        ConfigError: The file can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / REVIEW_FILE
        self._file: int | None = None
        self._known: set[bytes] = set()

    def __enter__(self) -> ReviewFile:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            whole = self._read()
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.truncate(self.path, whole)
        except OSError as err:
            self.__exit__(None, None, None)
            raise self._unwritable(err) from err
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def add(self, record: Mapping[str, Any]) -> None:
        """Append a record of plain JSON values unless it is there; on disk when this returns."""
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        digest = _digest(line)
        if digest in self._known:
            return
        assert self._file is not None
        try:
            written = os.write(self._file, line)
        except OSError as err:
            raise self._unwritable(err) from err
        if written != len(line):
            raise self._unwritable(OSError("the disk is full"))
        self._known.add(digest)

    def _read(self) -> int:
        """Learn the lines that are there; return how many bytes of them are whole."""
        if not self.path.is_file():
            return 0
        whole = 0
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    self._known.add(_digest(line))
                    whole += len(line)
        return whole

    def _unwritable(self, err: OSError) -> ConfigError:
        return ConfigError(f"can't write {self.path}: {err}. Choose another folder")


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()[:16]
