"""How far the INT8 levels of a tensor reach: what lies beyond is clipped, what is inside is finer.

Works on histograms of magnitudes over [0, edge], ``NUM_BINS`` bins of equal width, which add up
from pair to pair. Knows nothing of graphs: ``export/histogram.py`` counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.errors import CalibrationError
from adcopilot_edge.types import FloatArray

Method = Literal["min-max", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)

NUM_BINS = 8192
# Levels on either side of zero: with the one at zero, 128 magnitudes.
_LEVELS = 127
# A bound is at least so many bins from zero that each level has one.
_LEAST_BINS = _LEVELS + 1
_NUM_CANDIDATES = 128
# Of all values of the tensor, those that are not clipped.
_SHARE_KEPT = 0.9999

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Histogram:
    """The magnitudes of a tensor over pairs.

    edge: the largest. counts: (NUM_BINS,), values by bin. floors: (C,), the smallest magnitude of
    each channel.
    """

    edge: float
    counts: Counts = field(repr=False)
    floors: FloatArray = field(repr=False)

    def __add__(self, other: Histogram) -> Histogram:
        """The magnitudes of both, which have the same edge."""
        assert self.edge == other.edge
        floors = np.minimum(self.floors, other.floors)
        return Histogram(self.edge, self.counts + other.counts, floors)


@dataclass(frozen=True, slots=True)
class Clip:
    """Where the levels of a tensor end, by which method; reason: why not by the one asked for."""

    bound: float
    method: Method
    reason: str = ""


def find_clip(histogram: Histogram, method: Method) -> Clip:
    """Where the levels end by ``method``, or at the edge where that would silence a channel.

    A channel whose every value lies beyond the bound comes out as a constant, and what it said is
    lost; in transformers such a channel steers the attention.

    Raises:
        CalibrationError: The histogram is empty.
    """
    if not histogram.counts.any():
        raise CalibrationError("a histogram without values has no range. Calibrate on pairs.")
    if method == "min-max":
        return Clip(histogram.edge, method)
    width = histogram.edge / NUM_BINS
    bound = _BINS_OF[method](histogram.counts) * width
    (saturated,) = np.nonzero(histogram.floors > bound)
    if len(saturated):
        reason = (
            f"{method} would end at {bound:.3g}, and channel {saturated[0]} is never below "
            f"{histogram.floors[saturated[0]]:.3g}"
        )
        return Clip(histogram.edge, "min-max", reason)
    return Clip(bound, method)


def _percentile(counts: Counts) -> int:
    """The bins that hold all values but one in ten thousand."""
    reached = np.cumsum(counts) / counts.sum()
    return int(np.searchsorted(reached, _SHARE_KEPT)) + 1


def _entropy(counts: Counts) -> int:
    """The bins whose values, told by 128 levels, are distributed most like all of them.

    The divergence of Kullback and Leibler, as TensorRT's calibrator of that name took it: what is
    clipped counts for the last bin, and the bins of a level share its values evenly.
    """
    weights = counts.astype(np.float64)
    # Exact zeros, as those of padding, have a level of their own whatever the bound.
    weights[0] = weights[1]
    return _least(lambda bins: _divergence(weights, bins))


def _divergence(counts: NDArray[np.float64], bins: int) -> float:
    inside = counts[:bins]
    level = np.arange(bins) * _LEAST_BINS // bins
    is_filled = inside > 0
    filled = np.bincount(level, is_filled)
    mean = np.bincount(level, inside) / np.maximum(filled, 1)
    told = np.where(is_filled, mean[level], 0)
    whole = inside.copy()
    whole[-1] += counts[bins:].sum()
    # Where only clipped values are, the levels have none: one value, or the ratio has no logarithm.
    told[-1] = max(told[-1], 1)
    share = whole[whole > 0] / whole.sum()
    return float((share * np.log(share / (told[whole > 0] / told.sum()))).sum())


def _mse(counts: Counts) -> int:
    """The bins whose levels leave the smallest mean squared error over all values."""
    centres = np.arange(NUM_BINS) + 0.5

    def error(bins: int) -> float:
        step = bins / _LEVELS
        rounded = np.minimum(np.rint(centres / step), _LEVELS) * step
        return float((counts * (centres - rounded) ** 2).sum())

    return _least(error)


def _least(loss: Callable[[int], float]) -> int:
    """The number of bins with the smallest loss, the larger of equals."""
    return min(reversed(list(_candidates())), key=loss)


def _candidates() -> Iterator[int]:
    """Numbers of bins to end at, a few percent apart, up to all."""
    steps = np.geomspace(_LEAST_BINS, NUM_BINS, _NUM_CANDIDATES)
    yield from np.unique(np.rint(steps).astype(int)).tolist()


_BINS_OF: dict[Method, Callable[[Counts], int]] = {
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _mse,
}
