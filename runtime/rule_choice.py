"""What the verdicts about parts of one golden image go by: its verdict state, or the bundle."""

from __future__ import annotations

from adcopilot_edge.runtime.verdict_rule import VerdictRule
from adcopilot_edge.runtime.verdict_state import VerdictState
from adcopilot_edge.runtime.verdict_store import VerdictStates


def choose_rule(
    states: VerdictStates | None,
    threshold: float,
    golden_sha256: str,
    *,
    tile: bool,
) -> tuple[VerdictState | None, VerdictRule, tuple[str, ...]]:
    """Return the verdict state, if there is one, the rule, and what to note.

    Args:
        states: Those of the bundle, or None where they are left alone.
        threshold: The bundle's own.
        golden_sha256: The ``pixel_hash`` of the golden image.
        tile: Parts are inspected in tiles.

    Raises:
        StateError: The golden's state can't be used for this inspection.
    """
    bundles_own = VerdictRule.from_threshold(threshold)
    if states is None or states.is_empty:
        return None, bundles_own, ()
    state = states.find(golden_sha256, tile=tile)
    if state is None:
        return None, bundles_own, ("golden_uncalibrated",)
    return state, state.rule, ()
