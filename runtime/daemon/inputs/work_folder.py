"""Claims by renaming: a file that is inspected lies in ``.work`` of its folder, then moves on.

A claim is a folder of its own in ``.work``, so that the file keeps its name: ``000000012`` before
its part is handed over, ``000000012.345`` with the note that goes with that.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.daemon.inputs.claims import Claim, FindRecord
from adcopilot_edge.runtime.daemon.inputs.complete_files import FileState

_LOG = logging.getLogger(__name__)
_HOME = re.compile(r"(\d{9,})(?:\.(\d+))?")
_MAX_NAME = 255  # bytes, of most file systems


class WorkFolder:
    """The claims on files of ``folder``. after: what becomes of a file with its final record."""

    def __init__(self, folder: Path, after: Literal["move", "delete"]) -> None:
        self._folder = folder
        self._work = folder / ".work"
        self._is_deleting = after == "delete"
        self._last = 0
        self._lock: int | None = None

    def is_known(self, file: FileState) -> bool:
        """False: what was taken lies elsewhere."""
        return False

    def forget_gone(self, present: Collection[str]) -> None:
        """Nothing is remembered of files."""

    def recover(self, find: FindRecord) -> list[Claim]:
        """Settle what has its record, and free the others of their notes before any is used.

        Raises:
            ConfigError: Another daemon takes files from this folder.
        """
        self._work.mkdir(exist_ok=True)
        self._take_lock()
        left = []
        for home in sorted(self._work.iterdir()):
            if (match := _HOME.fullmatch(home.name)) is None:
                continue
            self._last = max(self._last, int(match[1]))
            if (claim := _claim_in(home, match[2])) is None:
                home.rmdir()
            elif (record := find(claim)) is not None:
                self.settle(claim, record)
            else:
                left.append(claim)
        for claim in left:
            self._rename_home(claim, claim.path.parent.name.split(".")[0])
            claim.after = None
        _sync(self._work)
        return left

    def take(self, name: str, size: int, mtime_ns: int) -> Claim | None:
        """Rename the file into ``.work``; None where it has gone. Raises OSError."""
        self._last += 1
        home = self._work / f"{self._last:09d}"
        home.mkdir(parents=True)
        try:
            (self._folder / name).rename(home / name)
        except OSError as err:
            home.rmdir()
            if isinstance(err, FileNotFoundError):
                return None
            raise
        return Claim(name=name, path=home / name, size=size, mtime_ns=mtime_ns)

    def note(self, claim: Claim, after: int) -> None:
        """Put the note into the name of the claim's folder, and that on the disk."""
        if claim.after == after:
            return
        number = claim.path.parent.name.split(".")[0]
        self._rename_home(claim, f"{number}.{after}")
        _sync(self._work)
        claim.after = after

    def settle(self, claim: Claim, record: Mapping[str, Any]) -> None:
        """Delete the file, or move it to the folder that its record says. Raises OSError."""
        if self._is_deleting:
            claim.path.unlink(missing_ok=True)
        else:
            target = self._folder / _target(record)
            target.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # somebody took it away
                claim.path.rename(_free_name(target, claim.name, record["id"]))
        self.drop(claim)

    def release(self, claim: Claim) -> bool:
        """False: another file may have its name by now."""
        return False

    def drop(self, claim: Claim) -> None:
        """Remove the claim's folder."""
        with suppress(FileNotFoundError):
            claim.path.parent.rmdir()

    def close(self) -> None:
        """Let another daemon take files from the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _rename_home(self, claim: Claim, name: str) -> None:
        home = claim.path.parent.rename(self._work / name)
        claim.path = home / claim.name

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        self._lock = os.open(self._work / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            self.close()
            raise ConfigError(
                f"another daemon takes files from {self._folder}; give each a folder of its own"
            ) from err
        except OSError as err:
            _LOG.warning(
                "%s can't be locked (%s): see to it that one daemon alone takes files from there",
                self._folder,
                err.strerror,
            )


def _claim_in(home: Path, after: str | None) -> Claim | None:
    for path in home.iterdir():
        status = path.lstat()
        return Claim(
            name=path.name,
            path=path,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            after=None if after is None else int(after),
        )
    return None


def _target(record: Mapping[str, Any]) -> str:
    if record["reason"] in ("image_unusable", "product_unknown"):
        return "unusable"
    return "rejected" if record["reject"] else "done"


def _free_name(folder: Path, name: str, number: int) -> Path:
    """A path in ``folder`` that nothing has: by the file's name, and the part's id if need be."""
    if not os.path.lexists(path := folder / name):
        return path
    end = f".part-{number}{Path(name).suffix}"
    stem = os.fsencode(Path(name).stem)[: _MAX_NAME - len(os.fsencode(end))]
    return folder / (os.fsdecode(stem) + end)


def _sync(folder: Path) -> None:
    """Put what was renamed in ``folder`` on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
