"""What a quantized bundle may lose against the float one, and the report that says what it lost.

Knows no pair and computes no figure.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.gate_record import Gate, GateCheck

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class GateLimits(BaseModel):
    """The limits; a TOML file may override each.

    max_flip_rate: share of pairs whose verdict may change. max_miou_drop: of the mean BBox-Mask
    IoU over defective pairs, for every source of boxes. max_overkill_rise: of the share of good
    pairs called anomalies. max_balanced_accuracy_drop, min_answer_agreement: not judged without a
    number; the latter is the share of pairs on which both bundles say the same in words. min_pairs:
    fewer say too little. Escapes have no number: they may not rise in any category by more than
    chance explains, that is, the interval of their rise must reach down to 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_flip_rate: float = Field(default=0.005, ge=0, le=1)
    max_miou_drop: float = Field(default=0.01, ge=0, le=1)
    max_overkill_rise: float = Field(default=0.01, ge=0, le=1)
    max_balanced_accuracy_drop: float | None = Field(default=None, ge=0, le=1)
    min_answer_agreement: float | None = Field(default=None, ge=0, le=1)
    min_pairs: int = Field(default=100, ge=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """A gate between two bundles, by their names for people; ``gate`` is what a manifest holds."""

    candidate: str
    reference: str
    gate: Gate

    @property
    def failures(self) -> tuple[GateCheck, ...]:
        """The figures out of their limit."""
        return self.gate.failures

    def to_json(self) -> dict[str, Any]:
        """The report as one object, which says of each figure and of the whole if it passed."""
        gate = self.gate
        return {
            "candidate": self.candidate,
            "reference": self.reference,
            "pairs": gate.num_good + gate.num_bad,
            "passed": gate.passed,
            **gate.model_dump(exclude={"checks"}),
            "checks": [{**check.model_dump(), "passed": check.passed} for check in gate.checks],
        }


def read_limits(path: Path) -> GateLimits:
    """The limits in a TOML file. Raises ConfigError with every unknown key and wrong value."""
    try:
        return GateLimits.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise ConfigError(f"{path} can't be read as TOML: {err}") from err
    except ValidationError as err:
        findings = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in err.errors()
        )
        known = ", ".join(GateLimits.model_fields)
        raise ConfigError(f"{path} is not valid: {findings}. The limits are {known}.") from err
