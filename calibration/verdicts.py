"""Limits of the verdicts for one golden image, from parts of the line; needs no torch.

The limits come from good parts alone. Bad parts have no say in them, so what they show about
escapes is a fair sample. All bounds hold for parts that are exchangeable with the measured ones:
same product, camera, light and mixture of batches. They are void once the line has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

import adcopilot_edge
from adcopilot_edge.calibration.cascade import Scores, measure_cascade, require_map
from adcopilot_edge.calibration.conformal import (
    limit_rank,
    upper_limit,
    upper_limit_bound,
    upper_share,
)
from adcopilot_edge.calibration.parts import Parts, read_parts
from adcopilot_edge.calibration.temperature import (
    Reliability,
    fit_temperature,
    measure_reliability,
)
from adcopilot_edge.errors import CalibrationError, ConfigError
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.verdict_rule import soften
from adcopilot_edge.runtime.verdict_state import BadParts, GoodParts, VerdictState
from adcopilot_edge.types import OnStep

MAX_REVIEW = 0.05  # unless more is asked for: one good part in twenty looked at by a person


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRecipe:
    """What is asked of the verdicts.

    max_overkill: largest share of good parts that may be anomalies. max_review: largest share that
    may be uncertain or anomalies; equal to ``max_overkill`` there is no ``uncertain``. confidence:
    of all other bounds. tile: parts are inspected in tiles. max_asked: largest share of good parts
    that the cascade may leave to the language model; None measures no cascade.
    """

    max_overkill: float = 0.01
    max_review: float = MAX_REVIEW
    confidence: float = 0.95
    tile: bool = False
    max_asked: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_overkill", "max_review", "confidence", "max_asked"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.max_review < self.max_overkill:
            raise ConfigError(
                f"max_review, {self.max_review}, is below max_overkill, {self.max_overkill}: every "
                "anomaly is reviewed too"
            )
        if self.tile and self.max_asked is not None:
            raise ConfigError("tiles have no cascade: all their verdicts are needed")

    def require_enough(self, num_good: int) -> None:
        """Raise TooFewSamplesError unless so many good parts can bound every share."""
        limit_rank(num_good, self.max_overkill)
        if self.max_asked is not None:
            limit_rank(num_good, self.max_asked)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the model said of parts, in their order: (S,) float64 each, 0..1.

    suspicions: the largest values of the anomaly maps; NaN where the bundle has none.
    """

    scores: Scores
    suspicions: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureFit:
    """The temperature, None where none is the best, and the reliability without and with it."""

    temperature: float | None
    before: Reliability
    after: Reliability


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The state, how many pictures were left out as repeated, and the fit to bad parts, if any."""

    state: VerdictState
    num_repeated: int
    fit: TemperatureFit | None


def calibrate(
    inspector: Inspector,
    golden: GoldenReference,
    good: Path,
    bad: Path | None,
    recipe: VerdictRecipe,
    *,
    on_step: OnStep,
) -> Calibration:
    """Inspect the parts of two folders and derive the limits.

    Args:
        inspector: Opened with ``calibrated=False``.
        golden: The golden image, read by ``inspector``.
        good: Folder of good parts.
        bad: Folder of bad parts, or None.
        recipe: What is asked for.
        on_step: Called while pictures are checked and inspected.

    Raises:
        DatasetError: A folder or pictures of it can't be used.
        TooFewSamplesError: There are too few good parts for the bounds.
        CalibrationError: The scores are of no use.
        ConfigError: The inspector goes by a verdict state.
        InferenceError: An inspection fails.
    """
    if recipe.max_asked is not None:
        require_map(inspector.engine.bundle.manifest.model)
    parts = read_parts(golden.image, good, bad, on_step=on_step)
    recipe.require_enough(len(parts.good))  # before an hour of inspections
    if bad is not None and not parts.bad:
        raise CalibrationError(f"{bad} holds nothing but the golden image; bad parts are needed")

    measured_good, measured_bad = (
        measure_parts(inspector, golden, files, tile=recipe.tile, step=step, on_step=on_step)
        for step, files in (("good", parts.good), ("bad", parts.bad))
    )
    return derive(inspector, golden, parts, measured_good, measured_bad, recipe)


def measure_parts(
    inspector: Inspector,
    golden: GoldenReference,
    files: Sequence[Path],
    *,
    tile: bool,
    step: str,
    on_step: OnStep,
) -> Measured:
    """The model's own scores of the parts in ``files``, and how suspicious their maps are.

    Raises:
        ConfigError: The inspector goes by a verdict state.
        InferenceError: An inspection fails.
    """
    scores, suspicions = np.empty(len(files)), np.full(len(files), np.nan)
    for index, file in enumerate(files):
        inspection = inspector.inspect(golden, file, tile=tile)
        if inspection.calibration is not None:
            raise ConfigError(
                "limits are set on the model's own scores: open the inspector with calibrated=False"
            )
        scores[index] = inspection.anomaly_score
        if inspection.anomaly_map is not None:
            suspicions[index] = inspection.anomaly_map.max()
        on_step(step, index + 1, len(files))
    return Measured(scores, suspicions)


def derive(
    inspector: Inspector,
    golden: GoldenReference,
    parts: Parts,
    good: Measured,
    bad: Measured,
    recipe: VerdictRecipe,
) -> Calibration:
    """The limits from what ``inspector`` said of ``parts``.

    Raises:
        TooFewSamplesError: There are too few good parts for the bounds.
        CalibrationError: The scores are of no use.
    """
    ranges = inspector.engine.ranges
    limits = _limit(good.scores, parts, recipe)
    fit = _fit(good.scores, bad.scores) if bad.scores.size else None
    cascade = None
    if recipe.max_asked is not None:
        cascade = measure_cascade(
            good.suspicions,
            bad.suspicions,
            bad.scores <= limits.normal_up_to,
            max_asked=recipe.max_asked,
            confidence=recipe.confidence,
        )
    state = VerdictState(
        created_by=f"adcopilot-edge {adcopilot_edge.__version__}",
        created_at=datetime.now(timezone.utc).replace(microsecond=0),
        bundle=inspector.engine.bundle.id,
        golden_sha256=golden.image_sha256,
        provider=inspector.engine.provider,
        tile=recipe.tile,
        confidence=recipe.confidence,
        good=limits,
        bad=None if fit is None else _count(bad.scores, parts, limits, recipe, fit),
        temperature=None if fit is None else fit.temperature,
        ranges=None if ranges is None else ranges.id,
        cascade=cascade,
    )
    return Calibration(state=state, num_repeated=parts.num_repeated, fit=fit)


def _limit(scores: Scores, parts: Parts, recipe: VerdictRecipe) -> GoodParts:
    """The limits from good parts, and their bounds."""
    count = len(scores)
    anomaly_above = upper_limit(scores, recipe.max_overkill)
    if anomaly_above >= 1.0:
        raise CalibrationError(
            f"at least {recipe.max_overkill:g} of the good parts have the highest score there is, "
            "so no part could ever be an anomaly. Check the golden image and the good parts, or "
            "train the model on this product"
        )
    return GoodParts(
        num=count,
        sha256=parts.good_sha256,
        max_overkill=recipe.max_overkill,
        max_review=recipe.max_review,
        overkill_bound=upper_limit_bound(count, recipe.max_overkill, recipe.confidence),
        review_bound=upper_limit_bound(count, recipe.max_review, recipe.confidence),
        anomaly_above=anomaly_above,
        normal_up_to=upper_limit(scores, recipe.max_review),
    )


def _fit(good: Scores, bad: Scores) -> TemperatureFit:
    """The temperature of scores of good and bad parts."""
    scores = np.concatenate([good, bad])
    is_anomaly = np.arange(scores.size) >= good.size
    temperature = fit_temperature(scores, is_anomaly)
    softer = scores if temperature is None else soften(scores, temperature)
    return TemperatureFit(
        temperature=temperature,
        before=measure_reliability(scores, is_anomaly),
        after=measure_reliability(softer, is_anomaly),
    )


def _count(
    scores: Scores, parts: Parts, limits: GoodParts, recipe: VerdictRecipe, fit: TemperatureFit
) -> BadParts:
    """What the limits did to bad parts."""
    escapes = int(np.sum(scores <= limits.normal_up_to))
    not_rejected = int(np.sum(scores <= limits.anomaly_above))
    return BadParts(
        num=scores.size,
        sha256=parts.bad_sha256,
        escapes=escapes,
        escape_bound=upper_share(escapes, scores.size, recipe.confidence),
        not_rejected=not_rejected,
        not_rejected_bound=upper_share(not_rejected, scores.size, recipe.confidence),
        ece_before=fit.before.calibration_error,
        ece_after=fit.after.calibration_error,
    )
