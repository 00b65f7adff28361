"""Which files of a folder are complete: they have stood still, or arrived whole by a rename."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adcopilot_edge.runtime.daemon.inputs.file_names import is_draft

if sys.platform == "linux":
    import fcntl


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """A file as a look at its folder found it. size: in bytes; times: in ns since 1970."""

    name: str
    size: int
    mtime_ns: int
    ctime_ns: int


class CompleteFiles:
    """The complete files of a folder; looks at each anew with every ``scan``.

    is_known: of which files nobody asks any more. on_names: told the names of all. ignored: how
    many regular files have another suffix. growing: how many have not stood still long enough.
    """

    def __init__(
        self,
        folder: Path,
        *,
        suffixes: Collection[str],
        settle_s: float,
        order: Literal["name", "mtime"] = "name",
        is_known: Callable[[FileState], bool] = lambda file: False,
        on_names: Callable[[Collection[str]], None] = lambda names: None,
    ) -> None:
        self._folder = folder
        self._suffixes = frozenset(suffixes)
        self._settle_s = settle_s
        self._order = order
        self._is_known = is_known
        self._on_names = on_names
        self._since: dict[str, tuple[FileState, float]] = {}
        self._next: float | None = None
        self.ignored = 0
        self.growing = 0

    @property
    def next_at(self) -> float | None:
        """When a file will have stood still if nothing comes between, by the monotonic clock."""
        return self._next

    def scan(self, now: float) -> list[FileState]:
        """The complete files, in order. now: by the monotonic clock, in seconds.

        Raises:
            OSError: The folder can't be read.
        """
        present = self._present()
        self._on_names(present.keys())
        before, self._since = self._since, {}
        complete: list[FileState] = []
        waits: list[float] = []
        for name, file in present.items():
            known, since = before.get(name, (file, now))
            is_new = name not in before
            if known != file:
                since = now
            self._since[name] = (file, since)
            if self._is_known(file):
                continue
            if now - since >= self._settle_s or (is_new and self._arrived_whole(file)):
                # Found whole once, it stays so unless it changes.
                self._since[name] = (file, now - self._settle_s if is_new else since)
                complete.append(file)
            else:
                waits.append(since + self._settle_s)
        self.growing = len(waits)
        self._next = min(waits, default=None)
        by_time = self._order == "mtime"
        return sorted(complete, key=lambda file: (file.mtime_ns if by_time else 0, file.name))

    def _present(self) -> dict[str, FileState]:
        found = {}
        self.ignored = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if is_draft(entry.name):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # it went between the two calls
                    continue
                if not stat.S_ISREG(status.st_mode):
                    continue
                if os.path.splitext(entry.name)[1].lower() not in self._suffixes:  # noqa: PTH122
                    self.ignored += 1
                    continue
                found[entry.name] = FileState(
                    name=entry.name,
                    size=status.st_size,
                    mtime_ns=status.st_mtime_ns,
                    ctime_ns=status.st_ctime_ns,
                )
        return found

    def _arrived_whole(self, file: FileState) -> bool:
        """Whether it was renamed after its last change, and no process has it open to write."""
        if file.size == 0 or file.ctime_ns <= file.mtime_ns:
            return False
        return has_no_writer(self._folder / file.name)


def has_no_writer(path: Path) -> bool:
    """Whether it is sure that no process has the file open for writing.

    The kernel grants a read lease on such a file only. False also where it can't tell: on a network
    share, for another user's file, and on systems without leases.
    """
    if sys.platform != "linux":
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Whoever opens the file during the lease makes the kernel send a signal. The one it sends
        # unless told otherwise would end this process; this one is ignored unless handled.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
