"""Figures of repeated measurements, on samples whose answers are known."""

from __future__ import annotations

import math

import pytest

from adcopilot_edge.runtime.profile.statistics import (
    MIN_COUNT,
    goodput,
    is_steady,
    judge,
    median,
    median_interval,
    percentile,
    slices,
    summarize,
)

HUNDRED = [float(value) for value in range(1, 101)]


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        (HUNDRED, 50, 50),
        (HUNDRED, 90, 90),
        (HUNDRED, 99, 99),
        (HUNDRED, 100, 100),
        (HUNDRED[::-1], 99, 99),
        ([15, 20, 35, 40, 50], 30, 20),  # the usual example of the nearest rank
        ([15, 20, 35, 40, 50], 40, 20),
        ([15, 20, 35, 40, 50], 50, 35),
        ([7], 1, 7),
        ([7], 99, 7),
        ([float(value) for value in range(1, 1001)], 99.9, 999),  # 999.0000000001 in floats
    ],
)
def test_percentile_is_the_nearest_rank(values, percent, expected) -> None:
    assert percentile(values, percent) == expected


def test_p99_of_few_is_the_largest() -> None:
    assert percentile(HUNDRED[:99], 99) == 99
    assert percentile(HUNDRED, 99) == 99  # of 100 it is not


def test_summary() -> None:
    summary = summarize([3.0, 1.0, 2.0, 10.0])
    assert summary.to_json() == {
        "count": 4,
        "mean": 4.0,
        "p50": 2.0,
        "p90": 10.0,
        "p99": 10.0,
        "max": 10.0,
    }


def test_median_of_odd_and_even() -> None:
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2.5


@pytest.mark.parametrize(("count", "ranks"), [(10, (1, 10)), (25, (7, 19)), (100, (40, 61))])
def test_median_interval_has_the_tabulated_ranks(count, ranks) -> None:
    """As tables of order statistics have them, or one rank wider: it is rounded outwards."""
    assert median_interval([float(value) for value in range(1, count + 1)]) == ranks


def test_the_interval_holds_the_median_as_often_as_it_says(rng) -> None:
    hits = 0
    for _ in range(2000):
        interval = median_interval(rng.exponential(1.0, 40).tolist())
        assert interval is not None
        hits += interval[0] <= math.log(2) <= interval[1]
    assert hits / 2000 >= 0.95


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_for_an_interval(count) -> None:
    assert median_interval([1.0] * count) is None
    assert not judge([1.0] * count).is_stable
    assert judge([1.0] * count).interval == math.inf


def test_constant_measurements_are_stable_once_there_are_enough() -> None:
    assert judge([5.0] * MIN_COUNT).is_stable
    assert not judge([5.0] * (MIN_COUNT - 1)).is_stable


def test_a_slow_drift_is_not_stable() -> None:
    """The interval of the median alone would pass this."""
    drifting = [100 + 0.02 * place for place in range(400)]
    judged = judge(drifting)
    assert judged.interval <= 0.03
    assert judged.drift == pytest.approx(4 / 103.99, rel=1e-3)
    assert not judged.is_stable


def test_a_wide_spread_is_not_stable() -> None:
    judged = judge([10.0, 20.0] * 25)
    assert judged.interval == pytest.approx(1 / 3)
    assert not judged.is_stable


def test_outliers_do_not_hinder_stability() -> None:
    assert judge([10.0] * 45 + [500.0] * 5).is_stable


def test_times_of_zero_are_no_measurement() -> None:
    assert not judge([0.0] * 50).is_stable


def test_goodput_counts_the_takt_itself() -> None:
    assert goodput([100, 200, 300, 400], 300) == 0.75
    assert goodput([100], 99.9) == 0
    assert goodput([100], 100) == 1


def test_steady_once_the_halves_agree() -> None:
    times = [float(second) for second in range(601)]
    climbing = [40 + second / 20 for second in range(601)]
    assert not is_steady(times, climbing)
    flat = [70 + 0.2 * (second % 2) for second in range(601)]
    assert is_steady(times, flat)
    settled = [min(70.0, 40 + second / 5) for second in range(601)]
    assert is_steady(times, settled)
    assert not is_steady(times[:280], settled[:280])  # the window is not full


@pytest.mark.parametrize(
    ("times", "degrees"), [([], []), ([0.0], [50.0]), ([0.0, 900.0], [50, 50])]
)
def test_steady_needs_both_halves(times, degrees) -> None:
    assert not is_steady(times, degrees)


def test_slices_of_time() -> None:
    times = [0.0, 1.0, 2.0, 3.0, 8.0, 10.0]
    assert slices(times, 2) == [(0, 4), (4, 6)]
    assert slices(times, 5) == [(0, 2), (2, 4), (4, 6)]  # 4 to 8 s is empty, and left out
    assert slices([5.0], 4) == [(0, 1)]
    assert slices([], 4) == []
