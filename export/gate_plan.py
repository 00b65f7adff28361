"""How a bundle is to be admitted, what was, and a gate's failures in words. Runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.calibration.gate_run import NUM_ANSWERS
from adcopilot_edge.calibration.gates import GateLimits
from adcopilot_edge.calibration.held_out import HeldOut
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.gate_record import Fallback, Gate, GateCheck

# Failed figures that an error names; all of them are in the log.
_MOST_FAILURES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePlan:
    """How a bundle is to be admitted.

    held_out: labelled pairs that nothing was learned from. limits: what may be lost. num_answers:
    how many pairs are asked about in words; seed: which, and of the intervals. reference: the
    folder of the float bundle, or None to make one for the time of the gate. can_fall_back: whether
    modules may go back to float.
    """

    held_out: HeldOut
    limits: GateLimits
    seed: int = 0
    num_answers: int = NUM_ANSWERS
    reference: Path | None = None
    can_fall_back: bool = False

    def key(self) -> str:
        """What the outcome depends on."""
        settings = (self.limits, self.seed, self.num_answers, self.reference, self.can_fall_back)
        return repr((self.held_out.sha256, *settings))

    def check(self, recipe: ExportRecipe, calibration: CalibrationPairs | None) -> None:
        """Raise ConfigError where there is nothing to fall back, or nothing to rank it by."""
        if not self.can_fall_back:
            return
        if recipe.vision != "int8":
            raise ConfigError(
                f"only a vision side in int8 can fall back, and it is to be {recipe.vision}"
            )
        if recipe.kept:
            raise ConfigError("which modules are kept is either named or searched for, not both")
        if calibration is None:
            raise ConfigError(
                "the fall-back ranks modules on other pairs than the gate's: name them with --calib"
            )


@dataclass(frozen=True, slots=True)
class Admitted:
    """What passed the gate: the recipe, the figures, and what the search found, where one ran."""

    recipe: ExportRecipe
    gate: Gate
    fallback: Fallback | None = None


def tell_failures(gate: Gate) -> str:
    """The figures out of their limit in words, the first few of them."""
    words = [tell_check(check) for check in gate.failures]
    rest = len(words) - _MOST_FAILURES
    return "; ".join(words[:_MOST_FAILURES]) + (f"; and {rest} more" if rest > 0 else "")


def tell_check(check: GateCheck) -> str:
    """One figure, and what would have been allowed."""
    name = check.name if check.category is None else f"{check.name} in {check.category}"
    value = f"{check.value:.4f} [{check.low:.4f}, {check.high:.4f}]"
    return f"{name} {value}, but {check.rule}, {check.limit:g}"
