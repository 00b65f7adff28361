"""Verdict states on disk: where they lie, read, written, brought back; which one an inspection has.

Beside a bundle there is one file for each golden image, in ``verdicts/``, outside the manifest: it
is measured where the bundle runs and changes neither its id nor its hashes. The state before lies
beside it until it is brought back or replaced.
"""

from __future__ import annotations

import os
from pathlib import Path

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import StateError
from adcopilot_edge.runtime.ranges_state import RangesState
from adcopilot_edge.runtime.state_file import StateKind, previous_path
from adcopilot_edge.runtime.verdict_state import VerdictState

FOLDER = "verdicts"
VERDICTS = StateKind(
    record=VerdictState,
    what="verdict state",
    repair=(
        "Calibrate again, or bring the one before back with: adcopilot-edge calibrate --roll-back"
    ),
    reading="Check the path, or make one with: adcopilot-edge calibrate",
    writing="Check the permissions and the free space, or name another file with --state",
)


def state_path(bundle: Bundle, golden_sha256: str) -> Path:
    """Where the state of a golden image lies beside a bundle."""
    return bundle.path / FOLDER / f"{golden_sha256[:16]}.json"


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
    state = VERDICTS.read(previous)
    state.check_fits(
        bundle=bundle,
        golden_sha256=golden_sha256,
        provider=state.provider,
        tile=state.tile,
        ranges=ranges,
    )
    VERDICTS.bring_back(path)
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
        self._for_all = None if file is None else VERDICTS.read(Path(file))
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
                self._found[golden_sha256] = VERDICTS.read(path) if path.exists() else None
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
