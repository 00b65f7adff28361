"""A measured state as a JSON file that carries its own id, and the state before beside it.

Knows nothing of what a state says, nor which one an inspection goes by.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import StateError


class State(Protocol):
    """A record whose id is a hash over all of it."""

    @property
    def id(self) -> str:
        """The hash."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The record as an object, its ``id`` in front."""
        ...


S = TypeVar("S", bound=State)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateKind(Generic[S]):
    """A kind of state: its record, and what to tell a person about its files.

    what: its name. repair, reading, writing: what to do about a damaged file, one that can't be
    read, one that can't be written.
    """

    record: type[S]
    what: str
    repair: str
    reading: str
    writing: str

    def read(self, path: Path) -> S:
        """The state at ``path``. Raises StateError: missing, damaged, edited."""
        try:
            content = json.loads(path.read_bytes())
            found = content.pop("id")
            assert issubclass(self.record, BaseModel)
            state: S = self.record.model_validate(content)
        except OSError as err:
            reason = err.strerror or err
            raise StateError(
                f"the {self.what} {path} can't be read: {reason}. {self.reading}"
            ) from err
        except ValidationError as err:
            wrong = ", ".join(
                ".".join(map(str, item["loc"])) or item["msg"] for item in err.errors()
            )
            raise StateError(f"{path} is no {self.what}: see {wrong}. {self.repair}") from err
        except (ValueError, LookupError, AttributeError, TypeError) as err:
            raise StateError(f"{path} is no {self.what}: {err}. {self.repair}") from err
        if found != state.id:
            raise StateError(
                f"the {self.what} {path} is damaged or was edited: its id is {found!r}, its "
                f"content has {state.id}. {self.repair}"
            )
        return state

    def is_sound(self, path: Path) -> bool:
        """Whether ``read`` would give a state."""
        try:
            self.read(path)
        except StateError:
            return False
        return True

    def write(self, path: Path, state: S) -> None:
        """Write ``state`` to ``path``; one that was there is kept, unless it is damaged.

        Raises:
            StateError: The file can't be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and self.is_sound(path):
                _write(previous_path(path), path.read_bytes())
            _write(path, json.dumps(state.to_json(), indent=1).encode() + b"\n")
        except OSError as err:
            raise self._not_written(path, err) from err

    def bring_back(self, path: Path) -> None:
        """Put the state before in the place of the one at ``path``. Raises StateError."""
        previous = previous_path(path)
        try:
            _write(path, previous.read_bytes())
            previous.unlink()
        except OSError as err:
            raise self._not_written(path, err) from err

    def remove(self, path: Path) -> None:
        """Remove the state at ``path``. Raises StateError."""
        try:
            path.unlink()
        except OSError as err:
            raise self._not_written(path, err) from err

    def check_writable(self, path: Path) -> None:
        """Raise StateError unless a state can be written to ``path``; nothing there changes."""
        folder = next(folder for folder in path.absolute().parents if folder.exists())
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as err:
            raise self._not_written(path, err) from err

    def _not_written(self, path: Path, err: OSError) -> StateError:
        reason = err.strerror or err
        return StateError(f"can't write the {self.what} {path}: {reason}. {self.writing}")


def previous_path(path: Path) -> Path:
    """Where the state lies that was replaced by the one at ``path``."""
    return path.with_name(f"{path.name}.previous")


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)
