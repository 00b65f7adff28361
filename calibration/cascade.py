"""The threshold of the cascade from good parts of a line; it bounds the work and no escape.

Bad parts have no say. What share of defects lies below the threshold is known only from bad parts,
or in time from the audit.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.calibration.conformal import upper_limit, upper_limit_bound, upper_share
from adcopilot_edge.errors import CalibrationError, ConfigError
from adcopilot_edge.manifest import ModelSpec
from adcopilot_edge.runtime.cascade import Cascade, suspicion
from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.images import ImageSource, check_same_aspect, open_image
from adcopilot_edge.runtime.rule_choice import NO_MAP
from adcopilot_edge.runtime.verdict_state import CascadeParts
from adcopilot_edge.types import MaskArray

Scores = NDArray[np.float64]

MAX_ASKED = 0.1  # unless another is asked for: of good parts nine in ten pass


def calibrate_cascade(
    engine: Engine,
    golden: GoldenReference,
    good: Iterable[ImageSource],
    *,
    max_asked: float,
    audit_share: float = 0.02,
    seed: int = 0,
) -> Cascade:
    """Return the cascade that asks the model about a share of the good parts.

    Args:
        engine: The bundle; its language model is not run.
        golden: The golden image, read by ``engine``.
        good: Pictures of good parts, each of another part.
        max_asked: The next good part is above the threshold with at most this chance.
        audit_share: As in ``Cascade``.
        seed: As in ``Cascade``.

    Raises:
        ConfigError: A share is out of range.
        TooFewSamplesError: So few good parts give no threshold that holds.
        InferenceError: A picture can't be used, or a graph fails.
    """
    values = [measure_suspicion(engine, golden, image) for image in good]
    threshold = upper_limit(values, max_asked)
    return Cascade(threshold=threshold, audit_share=audit_share, seed=seed)


def require_map(model: ModelSpec) -> None:
    """Raise ConfigError unless a bundle of this model has an anomaly map."""
    if not model.has_anomaly_map:
        raise ConfigError(NO_MAP)


def measure_cascade(
    good: Scores, bad: Scores, is_called_normal: MaskArray, *, max_asked: float, confidence: float
) -> CascadeParts:
    """Return the threshold from the suspicions of good parts, and what it does to all of them.

    Args:
        good: (S,) suspicions of good parts.
        bad: (B,) of bad parts, which have no say in the threshold.
        is_called_normal: (B,) what the language model says of those.
        max_asked: The next good part is above the threshold with at most this chance.
        confidence: Of the bounds.

    Raises:
        ConfigError: A share is out of range.
        TooFewSamplesError: So few good parts give no threshold that holds.
        CalibrationError: The maps of good parts are as suspicious as can be.
    """
    threshold = upper_limit(good, max_asked)
    if not threshold < 1.0:
        raise CalibrationError(
            f"the anomaly maps of at least {max_asked:g} of the good parts reach 1, or are no "
            "numbers, so every part would pass. Check the golden image and the good parts, or "
            "leave --cascade out"
        )
    passing = bad <= threshold
    counts = int(passing.sum()), int((passing | is_called_normal).sum())
    slipping, escapes = (
        (count, upper_share(count, bad.size, confidence)) if bad.size else (None, None)
        for count in counts
    )
    return CascadeParts(
        threshold=threshold,
        max_asked=max_asked,
        asked_bound=upper_limit_bound(good.size, max_asked, confidence),
        good_passing=int((good <= threshold).sum()),
        bad_passing=slipping[0],
        bad_passing_bound=slipping[1],
        escapes=escapes[0],
        escape_bound=escapes[1],
    )


def measure_suspicion(engine: Engine, golden: GoldenReference, image: ImageSource) -> float:
    """Return what the cascade goes by for one part, 0..1, without the language model.

    Raises:
        InferenceError: The picture can't be used, or a graph fails.
    """
    picture = open_image(image)
    check_same_aspect(golden.image.shape, picture.shape)
    encoded = engine.encoder.encode(
        engine.preprocessor.patches(engine.preprocessor.resize(picture))
    )
    comparison = engine.encoder.compare(golden.features, encoded.features)
    return suspicion(golden.features, encoded.features, comparison)
