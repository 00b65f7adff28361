"""What ``inspect --cascade`` asks for and tells, and what ``calibrate --cascade`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcopilot_edge.commands.printing import print_fact
from adcopilot_edge.errors import ConfigError

if TYPE_CHECKING:
    from adcopilot_edge.runtime.cascade import Cascade
    from adcopilot_edge.runtime.verdict_state import CascadeParts, VerdictState
    from adcopilot_edge.types import Inspection

_DECIDED = {
    "map": "the anomaly map alone: the score is its largest value",
    "model": "the language model: the map is not quiet",
    "audit": "the language model, as an audit: the map alone would have passed the part",
}


def read_cascade(
    *, is_on: bool, audit_share: float | None, is_uncalibrated: bool
) -> Cascade | None:
    """The cascade by the stored threshold, or None. Raises ConfigError."""
    if not is_on:
        if audit_share is not None:
            raise ConfigError("--audit-share goes with --cascade")
        return None
    if is_uncalibrated:
        raise ConfigError("--cascade goes by a verdict state: leave --uncalibrated out")
    from adcopilot_edge.runtime.cascade import Cascade

    return Cascade() if audit_share is None else Cascade(audit_share=audit_share)


def read_max_asked(*, is_on: bool, max_asked: float | None) -> float | None:
    """The largest share of good parts for the language model; None without a cascade.

    Raises:
        ConfigError: There is a share, but no cascade.
    """
    if not is_on:
        if max_asked is not None:
            raise ConfigError("--max-asked goes with --cascade")
        return None
    from adcopilot_edge.calibration.cascade import MAX_ASKED

    return MAX_ASKED if max_asked is None else max_asked


def print_decided(inspection: Inspection) -> None:
    """Print who decided about a part."""
    print_fact("decided by", _DECIDED[inspection.path])


def print_cascade(state: VerdictState) -> None:
    """Print the threshold, the share of good parts that passes, and what slips through."""
    cascade, sure = state.cascade, f"{state.confidence:g} confidence"
    if cascade is None:
        return
    print_fact(
        "cascade",
        f"suspicion up to {cascade.threshold:.4g} passes without the language model\n"
        f"of good parts {cascade.good_passing} of {state.good.num} pass: at least "
        f"{1 - cascade.max_asked:g} on average over calibrations, "
        f"{1 - cascade.asked_bound:.4f} for this one with {sure}\n"
        f"{_slipping(cascade, state)}",
    )


def _slipping(cascade: CascadeParts, state: VerdictState) -> str:
    """What is known of bad parts, in two lines or one."""
    if state.bad is None or cascade.escapes is None:
        return "how many bad parts pass unseen is not known: measure some with --bad"
    lost = cascade.escapes - state.bad.escapes
    return (
        f"of bad parts {cascade.bad_passing} of {state.bad.num} pass, so at most "
        f"{cascade.bad_passing_bound:.4f}; {lost} of them the model would not have called normal\n"
        f"escapes with the cascade: {cascade.escapes}, so at most {cascade.escape_bound:.4f} with "
        f"{state.confidence:g} confidence"
    )
