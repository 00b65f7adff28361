"""What measured ranges do to verdicts, held against the ranges in use before.

Knows scores, not how they were measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adcopilot_edge.calibration.conformal import limit_rank
from adcopilot_edge.calibration.verdicts import Measured, VerdictRecipe
from adcopilot_edge.errors import StateError
from adcopilot_edge.manifest import StageParity
from adcopilot_edge.runtime.golden import pixel_hash
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.verdict_rule import VerdictRule
from adcopilot_edge.runtime.verdict_store import VerdictStates
from adcopilot_edge.runtime.verify import run_stored_pairs
from adcopilot_edge.types import ImageArray

# Of the parts of the gate one in ten may change its verdict, and a single one too, as in the proof
# of an export: most changes are what one measures anew for. That none is for the worse is checked.
_PARTS_A_FLIP = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RangesReport:
    """What the new ranges did to parts that had no say in them, beside the ranges before.

    rule: the id of the verdict state whose limits both were held against, None for the bundle's
    threshold. flips: parts that are called anomalies by one of both, of ``num_good`` and
    ``num_bad``. overkill: good parts called anomalies, before and after. max_overkill: how many may
    be, by what is asked of the verdicts. escapes: bad parts called normal. stages: the pairs that
    the export stored, run under the new ranges; none where it stored none.
    """

    rule: str | None
    num_good: int
    num_bad: int
    flips: int
    overkill: tuple[int, int]
    max_overkill: int
    escapes: tuple[int, int]
    stages: tuple[StageParity, ...]

    @property
    def max_flips(self) -> int:
        """How many parts may change their verdict."""
        return max(1, (self.num_good + self.num_bad) // _PARTS_A_FLIP)

    @property
    def failures(self) -> tuple[str, ...]:
        """What speaks against the new ranges, in words."""
        found = []
        if self.flips > self.max_flips:
            parts = self.num_good + self.num_bad
            found.append(f"{self.flips} of {parts} verdicts flip, {self.max_flips} may")
        for name, (before, after), allowed, kind in (
            ("anomalies", self.overkill, self.max_overkill, f"of {self.num_good} good parts"),
            ("normal", self.escapes, 0, f"of {self.num_bad} bad parts"),
        ):
            if after > max(before, allowed):
                found.append(f"{kind} {after} are called {name}, {before} were before")
        found += [
            f"the stage {stage.stage} of the stored pair is off by {stage.error:.3g}, "
            f"{stage.tolerance:.3g} is allowed"
            for stage in self.stages
            if not stage.passed
        ]
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """The report as one object."""
        return {
            "rule": self.rule,
            "num_good": self.num_good,
            "num_bad": self.num_bad,
            "flips": self.flips,
            "max_flips": self.max_flips,
            "overkill": list(self.overkill),
            "max_overkill": self.max_overkill,
            "escapes": list(self.escapes),
            "parity": [stage.stage for stage in self.stages],
        }


def compare_ranges(
    inspector: Inspector,
    renewed: Inspector,
    picture: ImageArray,
    before: tuple[Measured, Measured],
    after: tuple[Measured, Measured],
    recipe: VerdictRecipe,
) -> RangesReport:
    """The scores of good and bad parts before and after, held against the limits in use.

    Args:
        inspector: Under the ranges before.
        renewed: Under the new ones; it runs the stored pair.
        picture: (H, W, 3) uint8 RGB of the golden image.
        before: Scores by ``inspector``.
        after: Scores by ``renewed``.
        recipe: What is asked of the verdicts.

    Raises:
        ManifestError: The file of the stored pair is damaged.
        InferenceError: A graph fails.
    """
    name, rule = _rule_in_use(inspector, picture, tile=recipe.tile)
    good, bad = (
        np.array([[rule.decide(float(score)) for score in one.scores] for one in pair])
        for pair in zip(before, after, strict=True)
    )
    overkill = (good == "anomaly").sum(axis=1)
    escapes = (bad == "normal").sum(axis=1)
    _, stages = run_stored_pairs(renewed)
    return RangesReport(
        rule=name,
        num_good=good.shape[1],
        num_bad=bad.shape[1],
        flips=sum(
            int((kind[0] != kind[1]).sum()) for kind in (good == "anomaly", bad == "anomaly")
        ),
        overkill=(int(overkill[0]), int(overkill[1])),
        max_overkill=limit_rank(good.shape[1], recipe.max_overkill),
        escapes=(int(escapes[0]), int(escapes[1])),
        stages=stages,
    )


def _rule_in_use(
    inspector: Inspector, picture: ImageArray, *, tile: bool
) -> tuple[str | None, VerdictRule]:
    """The verdict state of the golden image and its rule; the bundle's threshold where none fits.

    One that is void or damaged is no reason to stop: it is what a calibration replaces.
    """
    engine = inspector.engine
    states = VerdictStates(engine.bundle, engine.provider, ranges=engine.ranges)
    try:
        state = states.find(pixel_hash(picture), tile=tile)
    except StateError:
        state = None
    if state is None:
        return None, VerdictRule.from_threshold(engine.bundle.manifest.decision.threshold)
    return state.id, state.rule
