"""What a selection of pairs covers: counts by category, kind, and difference from the golden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Difference = Literal["low", "middle", "high"]
DIFFERENCES: tuple[Difference, ...] = get_args(Difference)


@dataclass(frozen=True, slots=True)
class Stratum:
    """Pairs alike in category, kind and difference from the golden: how many, how many chosen.

    difference: the third of all pairs of this category and kind, by mean difference of grey.
    """

    category: str
    is_anomaly: bool
    difference: Difference
    num_seen: int
    num_chosen: int

    @property
    def kind(self) -> str:
        """In one word, whether the parts are good."""
        return kind_of(self.is_anomaly)

    def to_json(self) -> dict[str, Any]:
        """The stratum as one object."""
        return {
            "category": self.category,
            "kind": self.kind,
            "difference": self.difference,
            "seen": self.num_seen,
            "chosen": self.num_chosen,
        }


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a selection of pairs saw and took.

    num_candidates: pairs that there are. num_seen: those looked at, without the num_duplicates
    whose pixels were seen before. seed: of the selection.
    """

    seed: int
    num_candidates: int
    num_seen: int
    num_duplicates: int
    strata: tuple[Stratum, ...]

    def __str__(self) -> str:
        chosen = sum(stratum.num_chosen for stratum in self.strata)
        return (
            f"on {chosen} pairs of {self.num_seen} that were looked at, {self.num_candidates} in "
            f"all; {self.num_duplicates} dropped as duplicates"
        )

    def to_json(self) -> dict[str, Any]:
        """The report as one object."""
        return {
            "seed": self.seed,
            "num_candidates": self.num_candidates,
            "num_seen": self.num_seen,
            "num_duplicates": self.num_duplicates,
            "strata": [stratum.to_json() for stratum in self.strata],
        }


def kind_of(is_anomaly: bool) -> str:
    """In one word, whether parts are good."""
    return "defective" if is_anomaly else "good"
