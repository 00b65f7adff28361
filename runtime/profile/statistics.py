"""Figures of repeated measurements: percentiles, when they are stable, shares inside a takt.

Plain numbers in and out; knows nothing of inspections, clocks or machines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

TOLERANCE = 0.03  # how far median and halves may be off, as a share of the median
MIN_COUNT = 30  # fewer measurements are never stable
STEADY_WINDOW_S = 300.0  # NVIDIA's boards and heat sinks take minutes, not seconds
STEADY_BAND_C = 0.5
_Z = 1.959964  # 95 % of a normal distribution lie within this many deviations


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The distribution of some measurements, all in their unit."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float

    def to_json(self) -> dict[str, float | int]:
        """The figures by name."""
        return {
            "count": self.count,
            **{
                name: round(getattr(self, name), 4) for name in ("mean", "p50", "p90", "p99", "max")
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Whether a row of measurements has settled, and by how much it has not.

    interval: half the width of the median's 95 % interval; drift: how far the medians of the two
    halves are apart; both as a share of the median, infinite where nothing can be said.
    """

    count: int
    interval: float
    drift: float

    @property
    def is_stable(self) -> bool:
        """True when there are enough measurements and both shares are within the tolerance."""
        return self.count >= MIN_COUNT and self.interval <= TOLERANCE and self.drift <= TOLERANCE

    def words(self) -> str:
        """Both shares, for people."""
        if math.isinf(self.interval):
            return "too few measurements to tell"
        return f"median +-{self.interval:.1%}, halves {self.drift:.1%} apart"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of all values do not exceed (nearest rank).

    A value that was measured, never one between two: p99 of fewer than 100 values is the largest.

    Args:
        values: At least one, in any order.
        percent: Above 0, at most 100.
    """
    ordered = sorted(values)
    rank = math.ceil(round(percent * len(ordered) / 100, 9))
    return ordered[max(rank, 1) - 1]


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the middle two, of at least one."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def summarize(values: Sequence[float]) -> Summary:
    """The distribution of at least one value; p50 is the nearest rank too."""
    return Summary(
        count=len(values),
        mean=math.fsum(values) / len(values),
        p50=percentile(values, 50),
        p90=percentile(values, 90),
        p99=percentile(values, 99),
        max=max(values),
    )


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the median by order statistics, whatever the distribution.

    The ranks are n/2 -+ 1.96 sqrt(n)/2, rounded outwards (the normal form of the sign test's
    binomial). None where there are too few values for one: below 6.
    """
    ordered, count = sorted(values), len(values)
    reach = _Z * math.sqrt(count) / 2
    low, high = math.floor(count / 2 - reach), math.ceil(count / 2 + 1 + reach)
    if low < 1 or high > count:
        return None
    return ordered[low - 1], ordered[high - 1]


def judge(values: Sequence[float]) -> Stability:
    """Whether measurements, in the order in which they were taken, have settled.

    The interval alone would call a slow drift stable, so the halves are held against each other.
    """
    interval = median_interval(values)
    if interval is None or (middle := median(values)) <= 0:
        return Stability(count=len(values), interval=math.inf, drift=math.inf)
    half = len(values) // 2
    return Stability(
        count=len(values),
        interval=(interval[1] - interval[0]) / 2 / middle,
        drift=abs(median(values[half:]) - median(values[:half])) / middle,
    )


def goodput(latencies_ms: Sequence[float], takt_ms: float) -> float:
    """The share, 0..1, of at least one part that is answered within the takt."""
    return sum(latency <= takt_ms for latency in latencies_ms) / len(latencies_ms)


def is_steady(
    times_s: Sequence[float],
    temperatures_c: Sequence[float],
    *,
    window_s: float = STEADY_WINDOW_S,
    band_c: float = STEADY_BAND_C,
) -> bool:
    """Whether a temperature no longer climbs or falls.

    The means of the older and the newer half of the last ``window_s`` are at most ``band_c``
    apart. False as long as the measurements do not fill the window.

    Args:
        times_s: Ascending.
        temperatures_c: One for each time.
        window_s: How far back it looks.
        band_c: How far the halves may be apart.
    """
    if not times_s or times_s[-1] - times_s[0] < window_s:
        return False
    start = times_s[-1] - window_s
    older: list[float] = []
    newer: list[float] = []
    for time_s, temperature in zip(times_s, temperatures_c, strict=True):
        if time_s >= start:
            (older if time_s < start + window_s / 2 else newer).append(temperature)
    if not older or not newer:
        return False
    return abs(math.fsum(newer) / len(newer) - math.fsum(older) / len(older)) <= band_c


def slices(times_s: Sequence[float], count: int) -> list[tuple[int, int]]:
    """Equal spans of time as index ranges (start, stop) of ascending times; empty ones left out."""
    if not times_s:
        return []
    first, last = times_s[0], times_s[-1]
    width = (last - first) / count
    places = [0]
    for part in range(1, count):
        edge = first + part * width
        places.append(sum(time_s < edge for time_s in times_s))
    places.append(len(times_s))
    return [(start, stop) for start, stop in pairwise(places) if stop > start]
