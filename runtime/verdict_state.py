"""What a calibration on the line found out for one golden image: limits, bounds, temperature.

Knows nothing of files: :mod:`adcopilot_edge.runtime.verdict_store`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from adcopilot_edge.errors import StateError
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.verdict_rule import VerdictRule

_SHA256 = r"^[0-9a-f]{64}$"


class GoodParts(Record):
    """What is promised about good parts, and by how many.

    anomaly_above, normal_up_to: the limits, in scores of the model, 0..1. max_overkill, max_review:
    a next good part is an anomaly, or is not normal, with at most this chance. overkill_bound,
    review_bound: the same with the calibration's confidence for these very limits.
    """

    num: int = Field(gt=0)
    sha256: str = Field(pattern=_SHA256)
    max_overkill: float = Field(gt=0, lt=1)
    max_review: float = Field(gt=0, lt=1)
    overkill_bound: float = Field(ge=0, le=1)
    review_bound: float = Field(ge=0, le=1)
    anomaly_above: float = Field(ge=0, le=1)
    normal_up_to: float = Field(ge=0, le=1)


class BadParts(Record):
    """What the limits, which no bad part had a say in, did to bad parts.

    escapes: how many were called normal; not_rejected: or uncertain. The bounds hold with the
    calibration's confidence. ece_before, ece_after: the expected calibration error over good and
    bad parts without and with the temperature, which was fitted on the same parts.
    """

    num: int = Field(gt=0)
    sha256: str = Field(pattern=_SHA256)
    escapes: int = Field(ge=0)
    escape_bound: float = Field(ge=0, le=1)
    not_rejected: int = Field(ge=0)
    not_rejected_bound: float = Field(ge=0, le=1)
    ece_before: float = Field(ge=0, le=1)
    ece_after: float = Field(ge=0, le=1)


class CascadeParts(Record):
    """Up to which suspicion parts pass without the language model, and what that did.

    threshold: the suspicion, 0..1. max_asked: a next good part is above it with at most this
    chance; asked_bound: the same with the calibration's confidence for this very threshold.
    good_passing, bad_passing: how many of the measured parts pass; bad_passing_bound: the bound of
    that share. escapes: bad parts that are called normal by the cascade or behind it, with the
    bound of their share. No bad part had a say in the threshold; None without bad parts.
    """

    threshold: float = Field(ge=0, lt=1)
    max_asked: float = Field(gt=0, lt=1)
    asked_bound: float = Field(ge=0, le=1)
    good_passing: int = Field(ge=0)
    bad_passing: int | None = Field(default=None, ge=0)
    bad_passing_bound: float | None = Field(default=None, ge=0, le=1)
    escapes: int | None = Field(default=None, ge=0)
    escape_bound: float | None = Field(default=None, ge=0, le=1)


class VerdictState(Record):
    """The verdicts of one bundle on parts compared with one golden image.

    golden_sha256: of the golden's decoded pixels. provider, tile: how the parts were inspected;
    scores of another way are other scores. temperature: None where nothing was fitted. ranges: the
    id of the ranges state that the INT8 layers went by, None for the bundle's own. cascade: None
    where no threshold of it was asked for.
    """

    format: Literal["adcopilot-edge-verdicts"] = "adcopilot-edge-verdicts"
    version: Literal[1] = 1
    created_by: str
    created_at: datetime
    bundle: str
    golden_sha256: str = Field(pattern=_SHA256)
    provider: str
    tile: bool
    confidence: float = Field(gt=0, lt=1)
    good: GoodParts
    bad: BadParts | None = None
    temperature: float | None = Field(default=None, gt=0)
    ranges: str | None = None
    cascade: CascadeParts | None = None

    @model_validator(mode="after")
    def _check_limits(self) -> VerdictState:
        if self.good.normal_up_to > self.good.anomaly_above:
            raise ValueError("normal_up_to is above anomaly_above")
        return self

    @property
    def id(self) -> str:
        """A hash over all of the state, which its inspections name."""
        values = self.model_dump(mode="json")
        for name in ("ranges", "cascade"):  # states older than the field keep their id
            if values[name] is None:
                del values[name]
        content = json.dumps(values, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def rule(self) -> VerdictRule:
        """How the state turns a score into a verdict."""
        return VerdictRule(
            normal_up_to=self.good.normal_up_to,
            anomaly_above=self.good.anomaly_above,
            temperature=self.temperature or 1.0,
        )

    def to_json(self) -> dict[str, Any]:
        """The state as a JSON object, its id in front."""
        return {"id": self.id, **self.model_dump(mode="json")}

    def check_fits(
        self,
        *,
        bundle: str,
        golden_sha256: str,
        provider: str,
        tile: bool,
        ranges: str | None = None,
    ) -> None:
        """Raise StateError with every way in which an inspection is not one of this state's."""
        misfits = list(self._misfits(bundle, golden_sha256, provider, tile))
        if self.ranges != ranges:
            misfits.append(
                f"it was measured under {_tell_ranges(self.ranges)}, in use are "
                f"{_tell_ranges(ranges)} (both go back with: adcopilot-edge calibrate --ranges "
                "--roll-back)"
            )
        if misfits:
            raise StateError(
                f"the verdict state {self.id} does not fit this inspection: {'; '.join(misfits)}. "
                "Calibrate again with: adcopilot-edge calibrate, or inspect without it "
                "(--uncalibrated)"
            )

    def _misfits(self, bundle: str, golden_sha256: str, provider: str, tile: bool) -> Iterator[str]:
        if self.bundle != bundle:
            yield f"it was measured with the bundle {self.bundle}, this is {bundle}"
        if self.golden_sha256 != golden_sha256:
            yield (
                f"it is of the golden image with pixels {self.golden_sha256[:16]}, this one has "
                f"{golden_sha256[:16]}"
            )
        if self.provider != provider:
            yield f"it was measured on {self.provider}, this is {provider}"
        if self.tile != tile:
            ways = {True: "in tiles", False: "as a whole"}
            yield f"it was measured on pictures inspected {ways[self.tile]}, this is {ways[tile]}"


def _tell_ranges(ranges: str | None) -> str:
    return "the bundle's own ranges" if ranges is None else f"the ranges {ranges}"
