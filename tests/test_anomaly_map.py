"""Boxes of the anomaly map, from maps drawn by hand."""

from __future__ import annotations

import numpy as np

from adcopilot_edge.runtime.anomaly_map import map_boxes
from adcopilot_edge.types import BBox


def boxes_of(*cells: tuple[int, int], margin: int = 0) -> list[BBox]:
    """Boxes of a map of 8 x 8 cells, one a pixel, with ones at ``cells`` (row, column)."""
    drawn = np.zeros((8, 8), np.float32)
    for row, column in cells:
        drawn[row, column] = 1
    return map_boxes(drawn, threshold=0.5, height=8, width=8, margin=margin)


def test_a_box_has_its_margin_within_the_image() -> None:
    assert boxes_of((3, 4)) == [(4, 3, 5, 4)]
    assert boxes_of((3, 4), margin=2) == [(2, 1, 7, 6)]
    assert boxes_of((0, 7), margin=2) == [(5, 0, 8, 3)]


def test_boxes_that_meet_by_their_margin_are_one() -> None:
    assert boxes_of((1, 1), (1, 6)) == [(1, 1, 2, 2), (6, 1, 7, 2)]
    assert boxes_of((1, 1), (1, 6), margin=1) == [(0, 0, 3, 3), (5, 0, 8, 3)]
    assert boxes_of((1, 1), (1, 5), margin=2) == [(0, 0, 8, 4)]


def test_no_region_has_no_box() -> None:
    assert boxes_of(margin=3) == []
