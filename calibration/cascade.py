"""The threshold of the cascade from good parts of a line; it bounds the work and no escape.

Bad parts have no say. What share of defects lies below the threshold is known only from bad parts,
or in time from the audit.
"""

from __future__ import annotations

from collections.abc import Iterable

from adcopilot_edge.calibration.conformal import upper_limit
from adcopilot_edge.runtime.cascade import Cascade, suspicion
from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.images import ImageSource, check_same_aspect, open_image


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
