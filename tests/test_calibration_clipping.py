"""Where INT8 levels end, by each method, on distributions whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from adcopilot_edge.calibration.clipping import (
    METHODS,
    NUM_BINS,
    Clip,
    Histogram,
    Method,
    find_clip,
)
from adcopilot_edge.errors import CalibrationError
from adcopilot_edge.types import FloatArray

CLIPPING: tuple[Method, ...] = ("percentile", "entropy", "mse")
FREE = np.zeros(3, np.float32)


def histogram(values: FloatArray, edge: float | None = None) -> Histogram:
    sizes = np.abs(values)
    edge = float(sizes.max()) if edge is None else edge
    return Histogram(edge, np.histogram(sizes, NUM_BINS, (0, edge))[0], FREE)


@pytest.fixture
def bulk(rng: np.random.Generator) -> FloatArray:
    return rng.normal(size=200_000).astype(np.float32)


@pytest.fixture
def outliers(bulk: FloatArray) -> FloatArray:
    """A bell with one value in a hundred thousand at thirty times its width."""
    values = bulk.copy()
    values[:2] = 30
    return values


def test_min_max_ends_at_the_edge(outliers: FloatArray) -> None:
    assert find_clip(histogram(outliers), "min-max") == Clip(30, "min-max")


def test_percentile_leaves_one_in_ten_thousand(bulk: FloatArray, outliers: FloatArray) -> None:
    bound = find_clip(histogram(outliers), "percentile").bound
    assert np.mean(np.abs(outliers) > bound) <= 1e-4
    # A bin is 30 / 8192 wide.
    assert bound == pytest.approx(np.quantile(np.abs(bulk), 0.9999), abs=0.05)


def error(values: FloatArray, bound: float) -> float:
    step = bound / 127
    levels = np.clip(np.rint(values / step), -127, 127)
    return float(np.mean((values - levels * step) ** 2))


def test_mse_is_the_smallest_error_there_is(outliers: FloatArray) -> None:
    bound = find_clip(histogram(outliers), "mse").bound
    tried = np.linspace(1, 30, 300)
    best = min(error(outliers, edge) for edge in tried)
    # Bounds are tried 3 % apart, and the error is flat around its least.
    assert error(outliers, bound) <= 1.02 * best
    assert error(outliers, bound) < 0.7 * error(outliers, 30)


@pytest.mark.parametrize("method", CLIPPING)
def test_outliers_are_clipped_and_the_bulk_is_not(outliers: FloatArray, method: Method) -> None:
    clip = find_clip(histogram(outliers), method)
    assert clip.method == method
    # Two values of 200,000 at thirty cost more squared error than a coarser level elsewhere.
    assert 2.5 < clip.bound < (25 if method == "mse" else 15)


@pytest.mark.parametrize("method", CLIPPING)
def test_an_even_distribution_keeps_its_range(rng: np.random.Generator, method: Method) -> None:
    values = rng.uniform(-4, 4, 200_000).astype(np.float32)
    assert find_clip(histogram(values), method).bound == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_the_unit_does_not_matter(outliers: FloatArray, method: Method) -> None:
    one, thousand = (find_clip(histogram(outliers * k), method).bound for k in (1, 1000))
    assert thousand == pytest.approx(1000 * one, rel=0.02)


def test_entropy_is_the_divergence_written_out(outliers: FloatArray) -> None:
    """By loops, for every bound that is tried."""
    counts = histogram(outliers).counts.astype(float)
    counts[0] = counts[1]

    def divergence(bins: int) -> float:
        whole = list(counts[:bins])
        whole[-1] += sum(counts[bins:])
        told = [0.0] * bins
        for level in range(128):
            members = [k for k in range(bins) if k * 128 // bins == level]
            filled = [k for k in members if counts[k]]
            for k in filled:
                told[k] = sum(counts[j] for j in members) / len(filled)
        told[-1] = max(told[-1], 1)
        p, q = (np.array(row) / sum(row) for row in (whole, told))
        return float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a))

    bound = find_clip(histogram(outliers), "entropy").bound
    chosen = round(bound / 30 * NUM_BINS)
    others = [128, 256, 512, 4096, NUM_BINS]
    assert all(divergence(chosen) <= divergence(bins) for bins in others)


@pytest.mark.parametrize("method", CLIPPING)
def test_zeros_of_padding_change_nothing_much(outliers: FloatArray, method: Method) -> None:
    padded = np.concatenate([outliers, np.zeros(1000, np.float32)])
    bounds = [find_clip(histogram(values), method).bound for values in (outliers, padded)]
    assert bounds[1] == pytest.approx(bounds[0], rel=0.05)


@pytest.mark.parametrize("method", CLIPPING)
def test_a_channel_that_would_be_silenced_keeps_the_range(
    outliers: FloatArray, method: Method
) -> None:
    floors = np.array([0, 28.5, 0], np.float32)
    seen = histogram(outliers)
    clip = find_clip(Histogram(seen.edge, seen.counts, floors), method)
    assert (clip.bound, clip.method) == (30, "min-max")
    assert f"{method} would end at" in clip.reason
    assert "channel 1 is never below 28.5" in clip.reason


def test_histograms_add_up(bulk: FloatArray, outliers: FloatArray) -> None:
    both = histogram(np.concatenate([bulk, outliers]), 30)
    total = histogram(bulk, 30) + histogram(outliers, 30)
    assert np.array_equal(total.counts, both.counts)
    one, other = (Histogram(1, both.counts, np.array(row, np.float32)) for row in ([1, 5], [2, 3]))
    assert (one + other).floors.tolist() == [1, 3]


def test_nothing_was_counted() -> None:
    with pytest.raises(CalibrationError, match="without values"):
        find_clip(Histogram(1, np.zeros(NUM_BINS, np.int64), FREE), "mse")
