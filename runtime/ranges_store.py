"""The ranges state of a bundle on disk: where it lies, read, written, brought back.

Beside a bundle there is one file, outside the manifest, for all its inspections. The state before
lies beside it until it is brought back or replaced; before the first are the bundle's own ranges.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import StateError
from adcopilot_edge.runtime.ranges_state import RangesState

_REPAIR = (
    "Bring what was before back with: adcopilot-edge calibrate --ranges --roll-back, or remove the "
    "file to return to the bundle's own ranges"
)


def state_file(bundle: Bundle) -> Path:
    """Where the ranges state lies beside a bundle."""
    return bundle.path / "ranges" / "state.json"


def previous_file(bundle: Bundle) -> Path:
    """Where the state lies that was replaced by the one in use."""
    path = state_file(bundle)
    return path.with_name(f"{path.name}.previous")


def read_ranges(bundle: Bundle) -> RangesState | None:
    """The ranges state beside ``bundle``, None where its own ranges are in use.

    Raises:
        StateError: It is damaged, or of another bundle.
    """
    path = state_file(bundle)
    if not path.exists():
        return None
    state = _read(path)
    state.check_fits(bundle.id)
    return state


def write_ranges(bundle: Bundle, state: RangesState) -> Path:
    """Write ``state`` beside ``bundle``; one that is in use and sound is kept. Returns the file.

    Raises:
        StateError: The file can't be written.
    """
    path = state_file(bundle)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and _is_sound(path):
            _write(previous_file(bundle), path.read_bytes())
        _write(path, json.dumps(state.to_json(), indent=1).encode() + b"\n")
    except OSError as err:
        raise _not_written(path, err) from err
    return path


def ranges_before(bundle: Bundle) -> RangesState | None:
    """What ``roll_back`` would bring back; None for the bundle's own ranges.

    Raises:
        StateError: There is nothing before, or it is damaged.
    """
    path, previous = state_file(bundle), previous_file(bundle)
    if not path.exists():
        raise StateError(
            f"there are no measured ranges at {path}: the bundle's own are in use already"
        )
    if _is_sound(path) and (current := _read(path)).replaces is None:
        return None
    if not previous.exists():
        raise StateError(
            f"there are no ranges before those of {path}. To return to the bundle's own, remove "
            "that file"
        )
    state = _read(previous)
    state.check_fits(bundle.id)
    if _is_sound(path) and current.replaces != state.id:
        raise StateError(
            f"{previous} has the ranges {state.id}, and those in use replaced {current.replaces}. "
            f"To return to the bundle's own, remove {path}"
        )
    return state


def roll_back_ranges(bundle: Bundle) -> RangesState | None:
    """Put the ranges before in the place of those in use, which are gone; return them.

    Raises:
        StateError: As ``ranges_before``, or the file can't be written.
    """
    state = ranges_before(bundle)
    path, previous = state_file(bundle), previous_file(bundle)
    try:
        if state is None:
            path.unlink()
        else:
            _write(path, previous.read_bytes())
            previous.unlink()
    except OSError as err:
        raise _not_written(path, err) from err
    return state


def _read(path: Path) -> RangesState:
    try:
        content = json.loads(path.read_bytes())
        found = content.pop("id")
        state = RangesState.model_validate(content)
    except OSError as err:
        raise StateError(
            f"the ranges {path} can't be read: {err.strerror or err}. {_REPAIR}"
        ) from err
    except ValidationError as err:
        wrong = ", ".join(".".join(map(str, item["loc"])) or item["msg"] for item in err.errors())
        raise StateError(f"{path} holds no ranges: see {wrong}. {_REPAIR}") from err
    except (ValueError, LookupError, AttributeError, TypeError) as err:
        raise StateError(f"{path} holds no ranges: {err}. {_REPAIR}") from err
    if found != state.id:
        raise StateError(
            f"the ranges {path} are damaged or were edited: their id is {found!r}, the content has "
            f"{state.id}. {_REPAIR}"
        )
    return state


def _is_sound(path: Path) -> bool:
    try:
        _read(path)
    except StateError:
        return False
    return True


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)


def _not_written(path: Path, err: OSError) -> StateError:
    return StateError(
        f"can't write the ranges {path}: {err.strerror or err}. Check the permissions and the free "
        "space"
    )
