"""How well scores are probabilities, and the one number that makes them better.

A temperature divides the margin of the two answer letters. It changes no order, so no verdict: it
is for whoever reads the score. It can't mend a model that leans to one side, as nothing moves
across 0.5; the diagram shows it. Knows nothing of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.verdict_rule import margins_of

NUM_BINS = 10
_BISECTIONS = 200
_SHARPEST = 2.0**20  # of 1 / temperature; beyond it every margin is a certainty


def fit_temperature(scores: ArrayLike, is_anomaly: ArrayLike) -> float | None:
    """The temperature with the least negative log-likelihood; None where none is the best.

    Labels are softened as Platt did for the same fit, to (n + 1) / (n + 2) of the n bad parts and
    1 / (n + 2) of the n good ones: pairs that are told apart without an error would otherwise have
    the temperature 0, and every score would be a certainty. The loss is convex in 1 / temperature,
    and its minimum the zero of a rising slope. There is none above 0 where scores follow the
    labels no better than a coin.

    Args:
        scores: (S,) float in 0..1, of the model.
        is_anomaly: (S,) bool.

    Raises:
        ConfigError: The lengths differ, or a class is missing.
    """
    values, truth = _checked(scores, is_anomaly)
    num_bad, num_good = int(truth.sum()), int((~truth).sum())
    if num_bad == 0 or num_good == 0:
        raise ConfigError("a temperature needs good and bad parts, got only one of them")
    margins = margins_of(values)
    targets = np.where(truth, (num_bad + 1) / (num_bad + 2), 1 / (num_good + 2))

    def slope(sharpness: float) -> float:
        predicted = 0.5 * (1.0 + np.tanh(0.5 * sharpness * margins))
        return float(np.sum(margins * (predicted - targets)))

    if slope(0.0) >= 0:
        return None
    low, high = 0.0, 1.0
    while slope(high) < 0 and high < _SHARPEST:
        low, high = high, 2 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / high


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """What scores promise and what came true, in ``NUM_BINS`` bins of equal width over 0..1.

    counts: parts of each bin. promised: their mean score. came_true: their share of bad parts; both
    are NaN in an empty bin.
    """

    counts: NDArray[np.int64]
    promised: NDArray[np.float64]
    came_true: NDArray[np.float64]

    @property
    def calibration_error(self) -> float:
        """The expected calibration error, 0..1: the mean gap of a part's bin."""
        filled = self.counts > 0
        gaps = np.abs(self.promised[filled] - self.came_true[filled])
        return float(np.average(gaps, weights=self.counts[filled]))


def measure_reliability(scores: ArrayLike, is_anomaly: ArrayLike) -> Reliability:
    """How well ``scores`` (S,) in 0..1 are probabilities of ``is_anomaly`` (S,) bool.

    Raises:
        ConfigError: The lengths differ, or there is no part.
    """
    values, truth = _checked(scores, is_anomaly)
    bins = np.minimum((values * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of an empty bin
        promised = np.bincount(bins, weights=values, minlength=NUM_BINS) / counts
        came_true = np.bincount(bins, weights=truth, minlength=NUM_BINS) / counts
    return Reliability(counts=counts, promised=promised, came_true=came_true)


def _checked(
    scores: ArrayLike, is_anomaly: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values = np.asarray(scores, dtype=np.float64)
    truth = np.asarray(is_anomaly, dtype=np.bool_)
    if values.shape != truth.shape or values.ndim != 1 or values.size == 0:
        raise ConfigError(
            "scores need one label each and at least one part, "
            f"got scores of shape {values.shape} and labels of shape {truth.shape}"
        )
    return values, truth
