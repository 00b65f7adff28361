"""The data file of a graph: tensors one behind the other, resumable after a crash.

Knows bytes and offsets only. ``mark`` says that everything so far is whole; a file opened again
goes on behind its last mark, and what lies before it is not computed a second time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.atomic import atomic_write

# Every tensor starts at a cache line, so that a memory-mapped one is aligned for the kernels.
_ALIGNMENT_BYTES = 64

Chunks = Callable[[], Iterable[NDArray[np.generic]]]


class DataFile:
    """An open data file; use it in a ``with`` statement.

    Args:
        path: The file.
        resumes: Whether the tensors are those of the run that left it; else it begins anew.
    """

    def __init__(self, path: Path, *, resumes: bool) -> None:
        self.name = path.name
        self._mark_file = path.with_name(f".{path.name}.mark")
        self._kept = self._read_mark() if resumes and path.is_file() else 0
        if path.is_file() and path.stat().st_size < self._kept:
            self._kept = 0
        self._file = path.open("r+b" if self._kept else "wb")
        self._file.truncate(self._kept)
        self._end = 0

    def __enter__(self) -> DataFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, name: str, length: int, chunks: Chunks) -> int:
        """Add a tensor of ``length`` bytes, aligned; returns its offset.

        ``chunks`` is called only when the tensor is not there from an earlier run.
        """
        offset = self._end + -self._end % _ALIGNMENT_BYTES
        self._end = offset + length
        if self._end <= self._kept:
            return offset
        self._file.seek(0, os.SEEK_END)
        self._file.write(bytes(offset - self._file.tell()))
        written = sum(self._file.write(np.ascontiguousarray(chunk).data) for chunk in chunks())
        assert written == length, f"{name}: {written} bytes were written, {length} expected"
        return offset

    def mark(self) -> None:
        """Bring everything so far to the disk and remember that it is whole."""
        if self._end <= self._kept:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._kept = self._end
        with atomic_write(self._mark_file) as file:
            file.write(json.dumps({"whole_bytes": self._end}).encode())

    def _read_mark(self) -> int:
        try:
            return int(json.loads(self._mark_file.read_text(encoding="utf-8"))["whole_bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0
