"""Answers of a long run, one JSON line each, so that a run that was killed goes on behind them.

The first line says what the answers are of: bundle, data by hash, settings. Answers of another run
are never mixed in. A line that was cut short by the kill is dropped and asked again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.record import tell_changes

Answer = dict[str, Any]


class AnswerLog:
    """The answers in a file, those of a run before included.

    ::

        with AnswerLog(path, {"bundle": ..., "data": ...}) as log:
            if "a.png" not in log.answers:
                log.add("a.png", {"letter": "A"})

    Args:
        path: The file; its folder is made.
        origin: What the answers are of; plain JSON values.

    Raises:
        ConfigError: The file holds the answers of another run, or can't be written.
        DatasetError: A line of the file is damaged that is not the last.
    """

    def __init__(self, path: Path, origin: Mapping[str, Any]) -> None:
        self.path = path
        self.answers: dict[str, Answer] = {}
        self._origin = dict(origin)
        self._file: IO[bytes] | None = None

    def __enter__(self) -> AnswerLog:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            whole = self._read()
            self._file = self.path.open("ab")
            self._file.truncate(whole)
        except OSError as err:
            raise ConfigError(
                f"can't write {self.path}: {err}. Choose another folder with --out"
            ) from err
        if whole == 0:
            self._write({"origin": self._origin})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None

    def add(self, key: str, answer: Answer) -> None:
        """Keep an answer; it is in the file when this returns."""
        self._write({"key": key, **answer})
        self.answers[key] = answer

    def _write(self, record: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def _read(self) -> int:
        """Take over the answers of the file; return how many bytes of it are whole lines."""
        raw = self.path.read_bytes() if self.path.is_file() else b""
        whole = raw.rfind(b"\n") + 1
        lines = raw[:whole].splitlines()
        for number, line in enumerate(lines, start=1):
            record = self._parse(line, number)
            if number == 1:
                self._check_origin(record.get("origin"))
            else:
                self.answers[str(record.pop("key", ""))] = record
        return whole

    def _parse(self, line: bytes, number: int) -> Answer:
        try:
            record = json.loads(line)
        except ValueError as err:
            raise DatasetError(
                f"{self.path}, line {number} is damaged: {err}. Remove the line, or the file"
            ) from err
        if not isinstance(record, dict) or ("key" in record) != (number > 1):
            raise DatasetError(
                f"{self.path}, line {number} is none of this program's. Choose another folder "
                "with --out"
            )
        return record

    def _check_origin(self, found: Any) -> None:
        if found == self._origin:
            return
        raise ConfigError(
            f"{self.path} holds answers of another run: {tell_changes(found, self._origin)}. Give "
            "this run its own folder with --out, or remove the file"
        )
