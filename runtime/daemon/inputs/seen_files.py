"""Claims by memory: files stay where they lie, and the journal knows which were inspected.

For folders that can't be written. A file counts as another one when its size or its time of change
differs from what is known.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from adcopilot_edge.runtime.daemon.inputs.claims import Claim, FindRecord
from adcopilot_edge.runtime.daemon.inputs.complete_files import FileState
from adcopilot_edge.runtime.daemon.journal import Journal

# A share that is away for a while looks as an empty folder; its files are remembered so long.
_FORGET_S = 7 * 86_400.0


class SeenFiles:
    """The claims on files of ``folder``, in the facts of the journal. source: the input's."""

    def __init__(self, folder: Path, journal: Journal, source: str) -> None:
        self._folder = folder
        self._journal = journal
        self._prefix = f"seen:{source}:"
        self._known: dict[str, tuple[int, int]] = {}
        self._gone_since: dict[str, float] = {}

    def is_known(self, file: FileState) -> bool:
        """Whether the file, as it is, was taken before."""
        return self._known.get(file.name) == (file.size, file.mtime_ns)

    def recover(self, find: FindRecord) -> list[Claim]:
        """Know again what was inspected; what has no record is found by the next scan."""
        rows = self._journal.read(
            "SELECT name, value FROM facts WHERE substr(name, 1, ?) = ?",
            len(self._prefix),
            self._prefix,
        )
        for row in rows:
            size, mtime_ns, after, part = json.loads(row["value"])
            name = os.fsdecode(unquote_to_bytes(row["name"].removeprefix(self._prefix)))
            claim = Claim(
                name=name, path=self._folder / name, size=size, mtime_ns=mtime_ns, after=after
            )
            if part is None and (record := find(claim)) is not None:
                self.settle(claim, record)
            elif part is None:
                self._forget(name)
            else:
                self._known[name] = (size, mtime_ns)
        return []

    def take(self, name: str, size: int, mtime_ns: int) -> Claim | None:
        """The file where it lies; None where it has gone."""
        path = self._folder / name
        if not path.exists():
            return None
        self._known[name] = (size, mtime_ns)
        return Claim(name=name, path=path, size=size, mtime_ns=mtime_ns)

    def note(self, claim: Claim, after: int) -> None:
        """Keep the note in the journal, on the disk. Raises JournalError."""
        if claim.after == after:
            return
        self._journal.set_fact(self._key(claim.name), self._value(claim, after, None)).result()
        claim.after = after

    def settle(self, claim: Claim, record: Mapping[str, Any]) -> None:
        """Remember the file with its part, unless it was taken again since, with other content."""
        state = (claim.size, claim.mtime_ns)
        if self._known.setdefault(claim.name, state) != state:
            return
        value = self._value(claim, claim.after or 0, record["id"])
        self._journal.set_fact(self._key(claim.name), value)

    def release(self, claim: Claim) -> bool:
        """True: the next look at the folder finds it again."""
        self._forget(claim.name)
        return True

    def drop(self, claim: Claim) -> None:
        """Forget a file that has gone."""
        self._forget(claim.name)

    def close(self) -> None:
        """Nothing is held."""

    def forget_gone(self, present: Collection[str]) -> None:
        """Forget the files that have been away for a week."""
        now = time.monotonic()
        gone = {name: self._gone_since.get(name, now) for name in self._known.keys() - present}
        for name in [name for name, since in gone.items() if now - since >= _FORGET_S]:
            del gone[name]
            self._forget(name)
        self._gone_since = gone

    def _forget(self, name: str) -> None:
        self._known.pop(name, None)
        key = self._key(name)
        self._journal.write(lambda c: c.execute("DELETE FROM facts WHERE name = ?", (key,)))

    def _key(self, name: str) -> str:
        return self._prefix + quote(os.fsencode(name))

    @staticmethod
    def _value(claim: Claim, after: int, part: int | None) -> list[int | None]:
        return [claim.size, claim.mtime_ns, after, part]
