"""Whether a quantized bundle may stand for the float one: limits on what the task loses.

Both bundles are asked about the same held-out pairs, so every change is paired. Each figure comes
with a bootstrap interval over the pairs: what other pairs of the same line would have given.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adcopilot_edge.calibration.evaluate import Predictions
from adcopilot_edge.errors import ConfigError, TooFewSamplesError
from adcopilot_edge.metrics import IOU_THRESHOLDS, box_mask_iou
from adcopilot_edge.types import BBox, LabelledPair

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ROUNDS = 2000
_CONFIDENCE = 0.95
# Rows of a resampling that are in memory at a time.
_BATCH = 100


class GateLimits(BaseModel):
    """The limits; a TOML file may override each.

    max_flip_rate: share of pairs whose verdict may change. max_miou_drop: of the mean BBox-Mask
    IoU over defective pairs, for every source of boxes. max_overkill_rise: of the share of good
    pairs called anomalies. min_pairs: fewer say too little. Escapes have no number: they may not
    rise in any category by more than chance explains, that is, the interval of their rise must
    reach down to 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_flip_rate: float = Field(default=0.005, ge=0, le=1)
    max_miou_drop: float = Field(default=0.01, ge=0, le=1)
    max_overkill_rise: float = Field(default=0.01, ge=0, le=1)
    min_pairs: int = Field(default=100, ge=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One figure: its value over the pairs, the ends of its interval, and what is allowed.

    category: None for all pairs. limit: the largest that passes, or None for a figure that is shown
    and not judged. judged: what is held against the limit, the value or the interval's lower end.
    """

    name: str
    category: str | None
    value: float
    low: float
    high: float
    limit: float | None = None
    judged: float = math.nan

    @property
    def passed(self) -> bool:
        """Whether the figure is within its limit; a NaN never is."""
        return self.limit is None or self.judged <= self.limit

    def to_json(self) -> dict[str, Any]:
        """The figure as an object without NaN."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {
            "name": self.name,
            "category": self.category,
            **{
                name: round(number, 5) if math.isfinite(number) else None
                for name, number in numbers.items()
            },
            "limit": self.limit,
            "passed": self.passed,
        }


@dataclass(frozen=True, slots=True)
class GateReport:
    """All figures of a candidate against a reference."""

    candidate: str
    reference: str
    num_pairs: int
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        """The figures out of their limit."""
        return tuple(check for check in self.checks if not check.passed)

    def to_json(self) -> dict[str, Any]:
        """The report as one object."""
        return {
            "candidate": self.candidate,
            "reference": self.reference,
            "pairs": self.num_pairs,
            "passed": not self.failures,
            "checks": [check.to_json() for check in self.checks],
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


def judge(
    pairs: Sequence[LabelledPair],
    candidate: Predictions,
    reference: Predictions,
    limits: GateLimits,
    *,
    seed: int = 0,
) -> GateReport:
    """Hold ``candidate`` against ``reference``, what each said about the same ``pairs``.

    Raises:
        TooFewSamplesError: There are fewer pairs than the limits ask for, or none of one kind.
    """
    truth = np.array([pair.is_anomaly for pair in pairs])
    if len(pairs) < limits.min_pairs or truth.all() or not truth.any():
        raise TooFewSamplesError(
            f"a gate needs at least {limits.min_pairs} pairs, good and bad ones among them; there "
            f"are {int((~truth).sum())} good and {int(truth.sum())} bad ones"
        )
    one, other = (np.array(said.is_anomaly, dtype=float) for said in (candidate, reference))
    check = partial(_check, seed=seed)
    found = [
        check("verdict flips", np.abs(one - other), limit=limits.max_flip_rate),
        check("overkill rise", (one - other)[~truth], limit=limits.max_overkill_rise),
    ]
    escapes = other - one  # of bad pairs: 1 where the candidate alone calls it normal
    categories = np.array([pair.category for pair in pairs])
    found.append(check("escapes rise", escapes[truth], limit=0.0, by_interval=True))
    if len(set(categories)) > 1:
        found += [
            check(
                "escapes rise",
                escapes[truth & (categories == category)],
                category=str(category),
                limit=0.0,
                by_interval=True,
            )
            for category in sorted(set(categories[truth]))
        ]
    for source in sorted(candidate.boxes.keys() & reference.boxes.keys()):
        ours, theirs = (_ious(pairs, said.boxes[source]) for said in (candidate, reference))
        found.append(check(f"mIoU drop, {source}", theirs - ours, limit=limits.max_miou_drop))
        for threshold in IOU_THRESHOLDS:
            drop = (theirs >= threshold).astype(float) - (ours >= threshold)
            found.append(check(f"ACC@{threshold} drop, {source}", drop))
    return GateReport(candidate.name, reference.name, len(pairs), tuple(found))


def _ious(
    pairs: Sequence[LabelledPair], predicted: Sequence[Sequence[BBox]]
) -> NDArray[np.float64]:
    """The BBox-Mask IoU of every defective pair."""
    return np.array(
        [
            box_mask_iou(boxes, pair.boxes, *pair.test.shape[:2])
            for pair, boxes in zip(pairs, predicted, strict=True)
            if pair.is_anomaly
        ]
    )


def _check(
    name: str,
    values: NDArray[np.float64],
    *,
    seed: int,
    category: str | None = None,
    limit: float | None = None,
    by_interval: bool = False,
) -> Check:
    """The mean of one value a pair; by_interval: the interval's lower end is judged."""
    value, low, high = _interval(values, np.random.default_rng(seed))
    return Check(
        name=name,
        category=category,
        value=value,
        low=low,
        high=high,
        limit=limit,
        judged=low if by_interval else value,
    )


def _interval(values: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float, float]:
    """The mean of ``values`` and the ends of its percentile bootstrap interval."""
    means: list[NDArray[np.float64]] = []
    for _ in range(0, _ROUNDS, _BATCH):
        rows = rng.integers(0, len(values), (_BATCH, len(values)))
        means.append(values[rows].mean(axis=1))
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(values.mean()), float(low), float(high)
