"""What the verdicts about parts of one golden image go by: its verdict state, or the bundle.

So too the cascade, where it goes by a stored threshold.
"""

from __future__ import annotations

from adcopilot_edge.errors import ConfigError, StateError
from adcopilot_edge.manifest import ModelSpec
from adcopilot_edge.runtime.verdict_rule import VerdictRule
from adcopilot_edge.runtime.verdict_state import VerdictState
from adcopilot_edge.runtime.verdict_store import VerdictStates

NO_MAP = (
    "this bundle has no anomaly map, so a cascade could not tell which parts look like the golden "
    "image. Leave --cascade out"
)


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


def stored_threshold(state: VerdictState | None, model: ModelSpec) -> float:
    """Return the suspicion up to which parts pass without the language model.

    Args:
        state: That of the golden image, if there is one in use.
        model: The bundle's.

    Raises:
        ConfigError: The bundle has no anomaly map, so that there can be none.
        StateError: None was measured.
    """
    if not model.has_anomaly_map:
        raise ConfigError(NO_MAP)
    if state is None or state.cascade is None:
        what = "no verdict state is in use" if state is None else f"the state {state.id} has none"
        raise StateError(
            f"there is no threshold of the cascade for this golden image: {what}. Measure one with "
            "good parts: adcopilot-edge calibrate --cascade"
        )
    return state.cascade.threshold
