"""The shape of a defect in one word, from its pixels or its box. Knows no pictures.

The rules, in their order:

- From a box alone only a long one tells: ``elongated`` where one side is 3 times the other.
- Less than 12 pixels tell nothing.
- ``scattered``: three or more boxes, the largest of them with less than 3/5 of the pixels; or five
  or more regions in one box that fill less than half of their convex hull.
- ``elongated``: the pixels of the largest box are spread 3 times as far along as across (the
  ratio of their standard deviations along the principal axes).
- ``compact``: they fill 4/5 of their convex hull. ``irregular``: all else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.regions import connected_regions
from adcopilot_edge.training.chat_ad.mined import ShapeWord
from adcopilot_edge.training.chat_ad.outline import Outline
from adcopilot_edge.types import BBox, MaskArray

_LONG = 3.0
_LEAST_PIXELS = 12
_LEAST_BOXES, _MOST_IN_ONE_BOX = 3, 0.6
_LEAST_REGIONS, _LOOSE = 5, 0.5
_COMPACT = 0.8


def shape_word(outline: Outline) -> ShapeWord | None:
    """The word for a defect's shape; None where it is not known."""
    if not outline.is_exact:
        return "elongated" if _is_long_box(outline.boxes) else None
    if outline.area < _LEAST_PIXELS:
        return None
    inside = [outline.inside(box) for box in outline.boxes]
    counts = [int(np.count_nonzero(mask)) for mask in inside]
    largest = inside[int(np.argmax(counts))]
    if len(inside) >= _LEAST_BOXES and max(counts) < _MOST_IN_ONE_BOX * sum(counts):
        return "scattered"
    rows, columns = np.nonzero(largest)
    if rows.size < _LEAST_PIXELS:
        return None
    if _spread_ratio(rows, columns) >= _LONG:
        return "elongated"
    solidity = rows.size / hull_area(largest)
    if solidity < _LOOSE and len(connected_regions(largest)) >= _LEAST_REGIONS:
        return "scattered"
    return "compact" if solidity >= _COMPACT else "irregular"


def _is_long_box(boxes: tuple[BBox, ...]) -> bool:
    if len(boxes) != 1:
        return False
    x1, y1, x2, y2 = boxes[0]
    short, long = sorted((x2 - x1, y2 - y1))
    return long >= _LONG * short


def _spread_ratio(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> float:
    """How many times as far the pixels reach along their main axis as across it.

    A pixel is a square with a variance of 1/12, so a line of one pixel's width has a width.
    """
    covariance = np.cov(np.stack([rows, columns]).astype(np.float64), bias=True)
    least, most = np.linalg.eigvalsh(covariance + np.eye(2) / 12)
    return float(np.sqrt(most / least))


def hull_area(mask: MaskArray) -> float:
    """The area of the convex hull around the true pixels as squares; at least one must be true."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    end = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    left = [(int(x), int(y) + step) for x, y in zip(first, rows, strict=True) for step in (0, 1)]
    right = [(int(x), int(y) + step) for x, y in zip(end, rows, strict=True) for step in (0, 1)]
    hull = [*_chain(left, turn=1), *_chain(right, turn=-1)[::-1]]
    following = [*hull[1:], hull[0]]
    twice = sum(a * d - c * b for (a, b), (c, d) in zip(hull, following, strict=True))
    return abs(twice) / 2


def _chain(points: list[tuple[int, int]], *, turn: int) -> list[tuple[int, int]]:
    """Of points from top to bottom those that lie on the hull's left side; right for turn -1."""
    kept: list[tuple[int, int]] = []
    for x, y in points:
        while len(kept) > 1:
            (ax, ay), (bx, by) = kept[-2:]
            if turn * ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) < 0:
                break
            kept.pop()
        kept.append((x, y))
    return kept
