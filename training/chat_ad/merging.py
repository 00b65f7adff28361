"""Which regions of a mask are specks, and which lie so close that they are one place.

Knows no files. The rules, for an image of H x W pixels with the diagonal D:

- A region is a speck when it has less than 1/100,000 of the image's pixels and less than 1/20 of
  the largest region's. Many small holes of one size are none.
- Two boxes are one when the gap between them is at most D/200, or at most a quarter of the longer
  side of the smaller box, but never more than 3 % of D; boxes that touch or overlap always are.
  So the pieces of a broken line are joined, and holes with room between them stay apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.regions import Region, connected_regions
from adcopilot_edge.types import BBox, MaskArray

_SPECK_OF_IMAGE = 1e-5
_SPECK_OF_LARGEST = 0.05
_GAP_OF_DIAGONAL = 0.005
_GAP_OF_SIDE = 0.25
_MOST_OF_DIAGONAL = 0.03
_MOST_REGIONS = 1000  # of which each is held against each


def merged_boxes(mask: MaskArray) -> list[BBox]:
    """The boxes of a mask by the rules above, in reading order; none where it is black.

    A mask of more than a thousand regions is noise or a texture: it is looked at in cells of D/200,
    so its boxes end at cells.
    """
    height, width = mask.shape
    diagonal = math.hypot(height, width)
    regions = drop_specks(connected_regions(mask), num_pixels=mask.size)
    boxes = [region.box for region in regions]
    if len(boxes) > _MOST_REGIONS:
        boxes = _cell_boxes(mask, max(2, math.ceil(_GAP_OF_DIAGONAL * diagonal)))
    return merge_close(boxes, diagonal=diagonal)


def drop_specks(regions: Sequence[Region], *, num_pixels: int) -> list[Region]:
    """Without those that are specks in an image of ``num_pixels``; the largest is none."""
    largest = max((region.area for region in regions), default=0)
    least = min(_SPECK_OF_IMAGE * num_pixels, _SPECK_OF_LARGEST * largest)
    return [region for region in regions if region.area >= least]


def merge_close(boxes: Sequence[BBox], *, diagonal: float) -> list[BBox]:
    """The boxes with close ones joined until none is close to another, in reading order.

    Args:
        boxes: Some.
        diagonal: Of the image, in pixels.
    """
    rest = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    while True:
        group = _groups(_are_close(rest, diagonal))
        kept = np.unique(group)
        if len(kept) == len(rest):
            break
        members = [rest[group == one] for one in kept]
        rest = np.array([[*one[:, :2].min(axis=0), *one[:, 2:].max(axis=0)] for one in members])
    return in_reading_order([(a, b, c, d) for a, b, c, d in rest.tolist()])


def in_reading_order(boxes: Sequence[BBox]) -> list[BBox]:
    """The boxes by their upper edges, then by their left ones."""
    return sorted(boxes, key=lambda box: (box[1], box[0], box[3], box[2]))


def _are_close(boxes: NDArray[np.float64], diagonal: float) -> NDArray[np.bool_]:
    """(N, N): which of the boxes (N, 4) are one place."""
    low, high = boxes[:, np.newaxis, :2], boxes[:, np.newaxis, 2:]
    apart = np.maximum(np.maximum(low, boxes[:, :2]) - np.minimum(high, boxes[:, 2:]), 0)
    gap = np.hypot(apart[:, :, 0], apart[:, :, 1])
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    smaller = np.minimum(side[:, np.newaxis], side)
    limit = np.maximum(_GAP_OF_DIAGONAL * diagonal, _GAP_OF_SIDE * smaller)
    return np.asarray(gap <= np.minimum(limit, _MOST_OF_DIAGONAL * diagonal))


def _groups(is_close: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,): the first member of each one's group."""
    count = len(is_close)
    group = np.arange(count, dtype=np.int64)
    while True:
        lower = np.where(is_close, group, count).min(axis=1, initial=count)
        lower = lower[lower]
        if np.array_equal(lower, group):
            return group
        group = lower


def _cell_boxes(mask: MaskArray, cell: int) -> list[BBox]:
    """The boxes of the regions of cells that have a true pixel."""
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % cell), (0, -width % cell)))
    rows, columns = padded.shape[0] // cell, padded.shape[1] // cell
    cells = np.asarray(padded.reshape(rows, cell, columns, cell).any(axis=(1, 3)))
    return [
        (x1 * cell, y1 * cell, min(x2 * cell, float(width)), min(y2 * cell, float(height)))
        for x1, y1, x2, y2 in (region.box for region in connected_regions(cells))
    ]
