"""Verdict states on disk: where they lie, read, written, brought back; which one an inspection has.

Beside a bundle there is one file for each golden image, in ``verdicts/``, outside the manifest: it
is measured where the bundle runs and changes neither its id nor its hashes. The state before lies
beside it until it is brought back or replaced.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import StateError
from adcopilot_edge.runtime.ranges_state import RangesState
from adcopilot_edge.runtime.verdict_state import VerdictState

FOLDER = "verdicts"


def state_path(bundle: Bundle, golden_sha256: str) -> Path:
    """Where the state of a golden image lies beside a bundle."""
    return bundle.path / FOLDER / f"{golden_sha256[:16]}.json"


def previous_path(path: Path) -> Path:
    """Where the state lies that was replaced by the one at ``path``."""
    return path.with_name(f"{path.name}.previous")


def read_state(path: Path) -> VerdictState:
    """Read a state. Raises StateError."""
    try:
        content = json.loads(path.read_bytes())
        found = content.pop("id")
        state = VerdictState.model_validate(content)
    except OSError as err:
        raise StateError(
            f"the verdict state {path} can't be read: {err.strerror or err}. Check the path, or "
            "make one with: adcopilot-edge calibrate"
        ) from err
    except ValidationError as err:
        wrong = ", ".join(".".join(map(str, item["loc"])) or item["msg"] for item in err.errors())
        raise StateError(f"{path} is no verdict state: see {wrong}. {_REPAIR}") from err
    except (ValueError, LookupError, AttributeError, TypeError) as err:
        raise StateError(f"{path} is no verdict state: {err}. {_REPAIR}") from err
    if found != state.id:
        raise StateError(
            f"the verdict state {path} is damaged or was edited: its id is {found!r}, its content "
            f"has {state.id}. {_REPAIR}"
        )
    return state


_REPAIR = "Calibrate again, or bring the one before back with: adcopilot-edge calibrate --roll-back"


def check_writable(path: Path) -> None:
    """Raise StateError unless a state can be written to ``path``; nothing there changes."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as err:
        raise _not_written(path, err) from err


def write_state(path: Path, state: VerdictState) -> None:
    """Write a state to ``path``; one that was there is kept, unless it is damaged.

    Raises:
        StateError: The file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and _is_sound(path):
            _write(previous_path(path), path.read_bytes())
        _write(path, json.dumps(state.to_json(), indent=1).encode() + b"\n")
    except OSError as err:
        raise _not_written(path, err) from err


def roll_back(
    path: Path, *, bundle: str, golden_sha256: str, ranges: str | None = None
) -> VerdictState:
    """Put the state before in the place of the one at ``path``, which is gone; return it.

    Raises:
        StateError: There is none, or it is damaged, or not of this bundle and golden image, or the
            file can't be written; or it was measured under other ranges than ``ranges``, those in
            use, by id.
    """
    previous = previous_path(path)
    if not previous.exists():
        raise StateError(
            f"there is no state before that of {path}. To return to the bundle's own threshold, "
            "remove that file"
        )
    state = read_state(previous)
    state.check_fits(
        bundle=bundle,
        golden_sha256=golden_sha256,
        provider=state.provider,
        tile=state.tile,
        ranges=ranges,
    )
    try:
        _write(path, previous.read_bytes())
        previous.unlink()
    except OSError as err:
        raise _not_written(path, err) from err
    return state


class VerdictStates:
    """The states that an inspector goes by: those beside its bundle, or one file for all.

    A file is read once, when its golden image is first inspected.

    Args:
        bundle: The inspector's bundle.
        provider: Where it runs.
        file: One state for all inspections, read now; None takes those beside the bundle.
        ranges: Those that the inspector goes by, where not the bundle's own.

    Raises:
        StateError: ``file`` can't be used.
    """

    def __init__(
        self,
        bundle: Bundle,
        provider: str,
        file: str | os.PathLike[str] | None = None,
        *,
        ranges: RangesState | None = None,
    ) -> None:
        self._bundle = bundle
        self._provider = provider
        self._ranges = None if ranges is None else ranges.id
        self._for_all = None if file is None else read_state(Path(file))
        self._found: dict[str, VerdictState | None] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no inspection has a state."""
        return self._for_all is None and not any((self._bundle.path / FOLDER).glob("*.json"))

    def find(self, golden_sha256: str, *, tile: bool) -> VerdictState | None:
        """The state of inspections with a golden image; None where there is none beside the bundle.

        Raises:
            StateError: It is damaged, or of another bundle, golden image or way to inspect.
        """
        state = self._for_all
        if state is None:
            if golden_sha256 not in self._found:
                path = state_path(self._bundle, golden_sha256)
                self._found[golden_sha256] = read_state(path) if path.exists() else None
            state = self._found[golden_sha256]
        if state is not None:
            state.check_fits(
                bundle=self._bundle.id,
                golden_sha256=golden_sha256,
                provider=self._provider,
                tile=tile,
                ranges=self._ranges,
            )
        return state


def _is_sound(path: Path) -> bool:
    try:
        read_state(path)
    except StateError:
        return False
    return True


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)


def _not_written(path: Path, err: OSError) -> StateError:
    return StateError(
        f"can't write the verdict state {path}: {err.strerror or err}. Check the permissions and "
        "the free space, or name another file with --state"
    )
