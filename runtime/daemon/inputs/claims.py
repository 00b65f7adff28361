"""A file that a folder's input has taken, so that it has one final record, also after a kill.

Before a part is handed over, the highest number that a part of this input can have by then is
noted with its file, on the disk. After a kill the note says which part, if any, is the file's: one
of the same input, reference and image, with a higher number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from adcopilot_edge.runtime.daemon.inputs.complete_files import FileState
from adcopilot_edge.runtime.daemon.journal import Journal


@dataclass(slots=True, kw_only=True)
class Claim:
    """A file that was taken. path: where it lies now. after: what was noted, None before.

    size, mtime_ns: as it was when it was found complete.
    """

    name: str
    path: Path
    size: int
    mtime_ns: int
    after: int | None = None


FindRecord: TypeAlias = Callable[[Claim], Mapping[str, Any] | None]


class Claims(Protocol):
    """Keeps claims on the disk. Its methods raise OSError or JournalError."""

    def is_known(self, file: FileState) -> bool:
        """Whether a file in the folder, as it is, was taken before."""
        ...

    def forget_gone(self, present: Collection[str]) -> None:
        """Hear which files are in the folder now."""
        ...

    def recover(self, find: FindRecord) -> list[Claim]:
        """Settle what the last daemon left and ``find`` knows a record of; the others, in order."""
        ...

    def take(self, name: str, size: int, mtime_ns: int) -> Claim | None:
        """Take a file, or None where it has gone."""
        ...

    def note(self, claim: Claim, after: int) -> None:
        """Note that from now on a part with a number above ``after`` may be this file's."""
        ...

    def settle(self, claim: Claim, record: Mapping[str, Any]) -> None:
        """Do with the file what is to be done with it after its final record."""
        ...

    def release(self, claim: Claim) -> bool:
        """Give back a file that is not complete after all; False where it stays taken."""
        ...

    def drop(self, claim: Claim) -> None:
        """Forget a file that has gone."""
        ...

    def close(self) -> None:
        """Hold nothing any more."""
        ...


class RecordFinder:
    """Finds the final record of a claim among the parts of an input, each but once."""

    def __init__(self, journal: Journal, source: str, reference_of: Callable[[str], str]) -> None:
        self._journal = journal
        self._source = source
        self._reference_of = reference_of
        self._given: set[int] = set()

    def __call__(self, claim: Claim) -> Mapping[str, Any] | None:
        """The record, or None. A part that ended without an image fits any."""
        if claim.after is None:
            return None
        rows = self._journal.read(
            "SELECT id, record FROM parts WHERE source = ? AND id > ? AND reference = ?"
            " AND image_sha256 IN (?, '') AND verdict IS NOT NULL ORDER BY id",
            self._source,
            claim.after,
            self._reference_of(claim.name),
            _sha256(claim.path),
        )
        for row in rows:
            if row["id"] not in self._given:
                self._given.add(row["id"])
                record: dict[str, Any] = json.loads(row["record"])
                return record
        return None


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:  # then it ended as a part without an image
        return ""
