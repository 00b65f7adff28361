"""The thresholds of the score that labelled pairs speak for, and what each of them costs.

A threshold that is chosen here says nothing about these same pairs any more: report the accuracy on
others. ``calibrate`` is for one golden image, with bounds; this is for a whole bundle. Knows
nothing of pictures.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcopilot_edge.metrics import balanced_accuracy

BoolArray = NDArray[np.bool_]


def choose_thresholds(truth: ArrayLike, scores: ArrayLike) -> dict[str, Any] | None:
    """The threshold of the best balanced accuracy, and the highest one without an escape.

    A score from the threshold on is an anomaly. Of the thresholds that call every pair the same,
    one with few digits near their middle is taken, and of those that are equally good the lowest,
    which lets the fewest bad parts through.

    Args:
        truth: (S,) bool, true for an anomaly.
        scores: (S,) float in 0..1, higher for an anomaly.

    Returns:
        ``best`` and ``no_escape``, each with ``threshold``, ``balanced_accuracy``, ``escapes`` and
        ``overkill``. ``no_escape`` is None where a bad pair has the score 0, and all is where good
        or bad pairs are missing.

    Raises:
        ConfigError: No sample, or the lengths differ.
    """
    true, values = np.asarray(truth, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    balanced_accuracy(true, values >= 1.0)  # of equal lengths, and not empty
    if true.all() or not true.any():
        return None
    steps = np.unique(np.concatenate([[0.0], values, [1.0]])).tolist()
    tried = [_figures(true, values, _between(*gap)) for gap in itertools.pairwise(steps)]
    safe = [item for item in tried if not item["escapes"]]
    return {
        "best": max(tried, key=lambda item: item["balanced_accuracy"]),
        "no_escape": safe[-1] if safe else None,
    }


def _between(low: float, high: float) -> float:
    """The middle with as few digits as keep it above ``low`` and not above ``high``."""
    middle = (low + high) / 2
    rounded = (round(middle, digits) for digits in range(1, 17))
    return next((value for value in rounded if low < value <= high and value < 1), middle)


def _figures(truth: BoolArray, scores: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    called: BoolArray = scores >= threshold
    return {
        "threshold": threshold,
        "balanced_accuracy": round(balanced_accuracy(truth, called), 4),
        "escapes": int((truth & ~called).sum()),
        "overkill": int((~truth & called).sum()),
    }


def describe_thresholds(chosen: dict[str, Any]) -> Sequence[str]:
    """A line for people about each of the two."""
    names = {"best": "most accurate", "no_escape": "without an escape"}
    return [
        f"{name} at {item['threshold']}: balanced accuracy {item['balanced_accuracy']:.4f}, "
        f"escapes {item['escapes']}, overkill {item['overkill']}"
        for key, name in names.items()
        if (item := chosen.get(key)) is not None
    ]
