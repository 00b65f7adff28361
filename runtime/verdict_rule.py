"""From the model's score to a verdict, and to the score that is shown. Knows nothing of files."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcopilot_edge.types import Verdict

# The model's score is a float64 near 0 or 1 for a very sure model; its margin then is not finite.
_LAST_BELOW_ONE = 1 - 2**-53


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRule:
    """Two limits on the model's score, 0..1, and the temperature of the score that is shown.

    A part is normal up to ``normal_up_to`` and an anomaly above ``anomaly_above``, limits included
    and excluded so; between them it is uncertain.
    """

    normal_up_to: float
    anomaly_above: float
    temperature: float = 1.0

    @classmethod
    def from_threshold(cls, threshold: float) -> VerdictRule:
        """The rule of a bundle that nobody calibrated: an anomaly at or above ``threshold``."""
        limit = math.nextafter(threshold, 0.0)
        return cls(normal_up_to=limit, anomaly_above=limit)

    @property
    def threshold(self) -> float:
        """The score to show above which a part is an anomaly."""
        return self.calibrate(self.anomaly_above)

    def with_threshold(self, threshold: float | None) -> VerdictRule:
        """The rule with one limit, an anomaly at or above this score to show; None keeps it."""
        if threshold is None:
            return self
        raw = threshold
        if self.temperature != 1.0:
            raw = float(soften(threshold, 1.0 / self.temperature))
        limit = math.nextafter(raw, 0.0)
        return VerdictRule(normal_up_to=limit, anomaly_above=limit, temperature=self.temperature)

    def decide(self, score: float) -> Verdict:
        """The verdict on a part of this score of the model."""
        if score > self.anomaly_above:
            return "anomaly"
        return "normal" if score <= self.normal_up_to else "uncertain"

    def calibrate(self, score: float) -> float:
        """The score to show, 0..1; the temperature moves no part past another."""
        return score if self.temperature == 1.0 else float(soften(score, self.temperature))


def margins_of(scores: ArrayLike) -> NDArray[np.float64]:
    """The margins of the two answer letters' logits whose sigmoids are ``scores``, all finite."""
    values = np.clip(np.asarray(scores, dtype=np.float64), 2**-53, _LAST_BELOW_ONE)
    return np.asarray(np.log(values) - np.log1p(-values), dtype=np.float64)


def soften(scores: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """The scores at a temperature: above 1 they come nearer to 0.5, below 1 to 0 and 1."""
    halves = 0.5 * margins_of(scores) / temperature
    return np.asarray(0.5 * (1.0 + np.tanh(halves)), dtype=np.float64)  # a sigmoid, no overflow
