"""Parts that look like the golden to the encoders pass without the language model. Off by default.

A defect that leaves the anomaly map quiet is never shown to the model: nothing but the audit
could find it. Knows nothing of words.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.anomaly_map import map_probabilities
from adcopilot_edge.runtime.vision import Comparison
from adcopilot_edge.types import DecisionPath, FloatArray, ImageArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """When a part passes without the language model.

    threshold: the suspicion, 0..1, up to which it does; None is the one that ``adcopilot-edge
    calibrate --cascade`` stored for the golden image. audit_share: of the parts that would pass,
    the share that the model sees anyway. seed: chooses them, by their pixels, so that a picture is
    always treated alike.

    Raises:
        ConfigError: ``threshold`` or ``audit_share`` is not in 0..1.
    """

    threshold: float | None = None
    audit_share: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("threshold", "audit_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name} must be in 0..1, got {value}")

    def choose(self, suspicion: float, pixels: ImageArray) -> DecisionPath:
        """Return who decides about a part.

        Args:
            suspicion: Of ``suspicion``; one that is not a number is the model's.
            pixels: (image_height, image_width, 3) uint8, the part at the bundle's size.
        """
        assert self.threshold is not None  # ``stored_threshold`` has filled it in
        if not suspicion <= self.threshold:
            return "model"
        digest = hashlib.sha256(f"{self.seed} ".encode())
        digest.update(np.ascontiguousarray(pixels).data)
        draw = int.from_bytes(digest.digest()[:8], "big") / 2**64
        return "audit" if draw < self.audit_share else "map"


def suspicion(golden: FloatArray, test: FloatArray, comparison: Comparison) -> float:
    """Return how much the most striking patch differs from the golden, 0..1.

    The maximum of the anomaly map; in a bundle without one the largest half of one minus the
    cosine of two features of the same place, which aligned images alone keep small.

    Args:
        golden: (N, C) float32, features of the golden image.
        test: (N, C) float32, features of the test image.
        comparison: What the encoder said about both.
    """
    if comparison.anomaly_logits is not None:
        return float(map_probabilities(comparison.anomaly_logits).max())
    one, other = (np.asarray(features, dtype=np.float64) for features in (golden, test))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = (one * other).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return float(np.clip(0.5 - 0.5 * cosines, 0.0, 1.0).max())
