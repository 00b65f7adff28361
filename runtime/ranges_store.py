"""The ranges state of a bundle on disk: where it lies, read, written, brought back.

Beside a bundle there is one file, outside the manifest, for all its inspections. The state before
lies beside it until it is brought back or replaced; before the first are the bundle's own ranges.
"""

from __future__ import annotations

from pathlib import Path

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import StateError
from adcopilot_edge.runtime.ranges_state import RangesState
from adcopilot_edge.runtime.state_file import StateKind, previous_path

_REPAIR = (
    "Bring what was before back with: adcopilot-edge calibrate --ranges --roll-back, or remove the "
    "file to return to the bundle's own ranges"
)
RANGES = StateKind(
    record=RangesState,
    what="ranges state",
    repair=_REPAIR,
    reading=_REPAIR,
    writing="Check the permissions and the free space",
)


def state_file(bundle: Bundle) -> Path:
    """Where the ranges state lies beside a bundle."""
    return bundle.path / "ranges" / "state.json"


def previous_file(bundle: Bundle) -> Path:
    """Where the state lies that was replaced by the one in use."""
    return previous_path(state_file(bundle))


def read_ranges(bundle: Bundle) -> RangesState | None:
    """The ranges state beside ``bundle``, None where its own ranges are in use.

    Raises:
        StateError: It is damaged, or of another bundle.
    """
    path = state_file(bundle)
    if not path.exists():
        return None
    state = RANGES.read(path)
    state.check_fits(bundle.id)
    return state


def write_ranges(bundle: Bundle, state: RangesState) -> Path:
    """Write ``state`` beside ``bundle``; one that is in use and sound is kept. Returns the file.

    Raises:
        StateError: The file can't be written.
    """
    path = state_file(bundle)
    RANGES.write(path, state)
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
    is_sound = RANGES.is_sound(path)
    if is_sound and (current := RANGES.read(path)).replaces is None:
        return None
    if not previous.exists():
        raise StateError(
            f"there are no ranges before those of {path}. To return to the bundle's own, remove "
            "that file"
        )
    state = RANGES.read(previous)
    state.check_fits(bundle.id)
    if is_sound and current.replaces != state.id:
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
    if state is None:
        RANGES.remove(state_file(bundle))
    else:
        RANGES.bring_back(state_file(bundle))
    return state
