"""The folder with all that a daemon keeps, and the lock that keeps a second daemon out of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from adcopilot_edge.errors import StateFolderError


class StateFolder:
    """A daemon's folder, locked as long as this is open.

    Raises StateFolderError when it can't be made or written, or another daemon has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            for folder in (self.images, self.goldens):
                folder.mkdir(exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as err:
            raise StateFolderError(f"{path} can't be used as state folder: {err.strerror}") from err
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip()
            os.close(self._lock)
            raise StateFolderError(
                f"{path} is used by another daemon (process {holder or 'unknown'}). Stop that one, "
                "or give this one a state folder of its own"
            ) from err
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    @property
    def journal(self) -> Path:
        """The file of the journal."""
        return self.path / "journal.sqlite"

    @property
    def images(self) -> Path:
        """Images of parts that are kept."""
        return self.path / "images"

    @property
    def goldens(self) -> Path:
        """Golden images that were added through the API."""
        return self.path / "goldens"

    @property
    def packs(self) -> Path:
        """Golden packs."""
        return self.path / "packs"

    def close(self) -> None:
        """Let another daemon have the folder."""
        os.close(self._lock)
