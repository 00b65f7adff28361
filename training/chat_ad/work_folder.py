"""The folder of an unfinished curation: what is done, for which settings, and by whom.

Knows no step. Beside ``DIR`` lies ``DIR.unfinished`` while a run goes on; a run that was killed
goes on there. The finished set takes its name in one rename.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.record import tell_changes

_ORIGIN = "run.json"
_LOCK = "lock"
_SET = "set"
_DONE = ".done"


class WorkFolder:
    """``out``'s unfinished folder, for one process at a time.

    Args:
        out: The folder that the finished set will be.
        origin: All that the result depends on; plain JSON values.

    Raises:
        ConfigError: ``out`` exists, another run is at work, the folder is one of a run with other
            settings, or it can't be written.
    """

    def __init__(self, out: Path, origin: Mapping[str, Any]) -> None:
        self.out = out if out.is_symlink() else out.resolve()
        self.path = self.out.with_name(f"{self.out.name}.unfinished")
        self._origin = json.loads(json.dumps(origin))
        self._lock: IO[str] | None = None
        self.is_resumed = False

    def __enter__(self) -> WorkFolder:
        check_free(self.out)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / _LOCK).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            self._close()
            raise ConfigError(
                f"another run is writing {self.out}; wait for it, or choose another --out"
            ) from err
        except OSError as err:
            raise ConfigError(f"can't write {self.path}: {err}. Choose another --out") from err
        try:
            self._claim()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    @property
    def set_folder(self) -> Path:
        """What the finished set will hold."""
        return self.folder(_SET)

    def folder(self, name: str) -> Path:
        """A folder of this run, made when it is first asked for."""
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path

    def is_done(self, step: str) -> bool:
        """Whether this step was finished, now or before the run was killed."""
        return (self.path / f"{step}{_DONE}").exists()

    def finish(self, step: str) -> None:
        """Note that all files of a step are there."""
        with atomic_write(self.path / f"{step}{_DONE}") as file:
            file.write(b"")

    def publish(self) -> None:
        """Give the set its name, and remove all else.

        Raises:
            ConfigError: Something took the name meanwhile.
        """
        check_free(self.out)
        self.set_folder.rename(self.out)
        shutil.rmtree(self.path, ignore_errors=True)

    def _claim(self) -> None:
        """Take over the folder of a run with equal settings, or make it one of this run."""
        path = self.path / _ORIGIN
        if not path.exists():
            with atomic_write(path) as file:
                file.write(json.dumps(self._origin, indent=2).encode())
            return
        self.is_resumed = True
        found: Any = None
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(path.read_bytes())
        if found == self._origin:
            return
        raise ConfigError(
            f"{self.path} is of an unfinished run with other settings: "
            f"{tell_changes(found, self._origin)}. Start with those to go on, or remove the folder "
            "to start anew"
        )

    def _close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def check_free(out: Path) -> None:
    """Raise ConfigError where ``out`` exists."""
    if out.exists() or out.is_symlink():
        raise ConfigError(f"{out} exists; choose another --out, or remove it")
