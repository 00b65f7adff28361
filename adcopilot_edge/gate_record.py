"""What a manifest says of the gate: what was asked, what was lost, what went back to float."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat

from adcopilot_edge.record import Precision, Record


class Fallback(Record):
    """What the search for a vision side in INT8 that passes the gate came to.

    chosen: the precision of the vision side. num_kept, num_modules: modules in float, and modules
    there are. num_trials: vision sides that the gate judged. speed_ratio: how many times faster the
    best one in INT8 is than float, on the machine of the export; None where that says nothing, or
    none in INT8 passed. A ratio of at most 1 is why float was chosen.
    """

    chosen: Precision
    num_kept: int = Field(ge=0)
    num_modules: int = Field(gt=0)
    num_trials: int = Field(gt=0)
    speed_ratio: float | None = Field(default=None, gt=0)


class GateCheck(Record):
    """One figure of a gate: its value over the pairs, and the ends of its bootstrap interval.

    category: None for all pairs. limit: None for a figure that is shown and not judged. rule: what
    is held against the limit; ``low`` is the interval's lower end.
    """

    name: str
    category: str | None = None
    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    limit: FiniteFloat | None = None
    rule: Literal["value <= limit", "low <= limit", "value >= limit"] = "value <= limit"

    @property
    def passed(self) -> bool:
        """Whether the figure is within its limit."""
        if self.limit is None:
            return True
        if self.rule == "value >= limit":
            return self.value >= self.limit
        return (self.low if self.rule == "low <= limit" else self.value) <= self.limit


class Gate(Record):
    """What the task loses against the float bundle, on held-out pairs that both were asked about.

    data: what the pairs are, in words; ``sha256`` is over their pixels and labels. num_placed: the
    bad pairs of which it is known where the defects are; figures of boxes are over these.
    num_answers: the pairs on which both also answered in words. reference_bundle: the id of the
    float bundle. reference_figures: how good that is itself on these pairs, since where it finds
    nothing there is nothing to lose. seed: of the choice of pairs and of the intervals.
    """

    data: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    num_good: int = Field(ge=0)
    num_bad: int = Field(ge=0)
    num_placed: int = Field(ge=0)
    num_answers: int = Field(ge=0)
    reference_bundle: str
    reference_precision: str
    reference_figures: dict[str, FiniteFloat]
    seed: int = Field(ge=0)
    limits: dict[str, int | FiniteFloat]
    checks: tuple[GateCheck, ...] = Field(min_length=1)

    @property
    def failures(self) -> tuple[GateCheck, ...]:
        """The figures out of their limit."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def passed(self) -> bool:
        """True when no figure is out of its limit."""
        return not self.failures
