"""Connected regions of a mask and the boxes around them, in numpy alone.

It knows neither where a mask comes from (an anomaly map, an image difference) nor what a region
means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcopilot_edge.types import BBox, IntArray, MaskArray


@dataclass(frozen=True, slots=True)
class Region:
    """A connected region: the box around it, x2 and y2 exclusive, and how many pixels it has."""

    box: BBox
    area: int


def connected_boxes(mask: MaskArray, *, min_area: int) -> list[BBox]:
    """The boxes of ``connected_regions`` that have ``min_area`` pixels or more."""
    return [region.box for region in connected_regions(mask) if region.area >= min_area]


def connected_regions(mask: MaskArray) -> list[Region]:
    """The connected regions of ``mask``, in the order of their first pixels.

    Pixels that touch at an edge or a corner are connected. Boxes are in pixels of the mask.

    Args:
        mask: (H, W) bool.
    """
    rows, starts, ends = _find_runs(mask)
    if rows.size == 0:
        return []
    first, second = _touching_runs(rows, starts, ends, mask.shape[1])
    roots, region = np.unique(_join(rows.size, first, second), return_inverse=True)
    area = np.bincount(region, weights=ends - starts)
    left = np.full(roots.size, mask.shape[1], dtype=np.int64)
    right, bottom = np.zeros_like(left), np.zeros_like(left)
    np.minimum.at(left, region, starts)
    np.maximum.at(right, region, ends)
    np.maximum.at(bottom, region, rows + 1)
    top = rows[roots]
    return [
        Region((float(left[i]), float(top[i]), float(right[i]), float(bottom[i])), int(area[i]))
        for i in range(roots.size)
    ]


def _find_runs(mask: MaskArray) -> tuple[IntArray, IntArray, IntArray]:
    """The horizontal runs of true pixels in raster order: row, first column, column after the end.

    Each array is (R,) int64.
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return rows.astype(np.int64), starts.astype(np.int64), ends.astype(np.int64)


def _touching_runs(
    rows: IntArray, starts: IntArray, ends: IntArray, width: int
) -> tuple[IntArray, IntArray]:
    """Index pairs of runs that touch a run of the row above, corners included; two (P,) int64."""
    stride = width + 2  # keeps a run that ends at the border apart from the next row's first
    start_keys, end_keys = rows * stride + starts, rows * stride + ends
    from_run = np.searchsorted(end_keys, start_keys - stride, side="left")
    to_run = np.searchsorted(start_keys, end_keys - stride, side="right")
    counts = np.maximum(to_run - from_run, 0)
    below = np.repeat(np.arange(rows.size, dtype=np.int64), counts)
    offsets = np.arange(below.size) - np.repeat(np.cumsum(counts) - counts, counts)
    above = np.repeat(from_run, counts) + offsets
    return below, above.astype(np.int64)


def _join(num_runs: int, first: IntArray, second: IntArray) -> IntArray:
    """For each run the smallest run index of its region, (R,) int64.

    Each round hangs every root under a smaller root that it touches and then flattens the trees,
    so the number of rounds grows with the logarithm of the longest chain.
    """
    root = np.arange(num_runs, dtype=np.int64)
    while True:
        one, other = root[first], root[second]
        if np.array_equal(one, other):
            return root
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(root, flat := root[root]):
            root = flat
