"""Connected regions against a plain flood fill, and the shapes that break naive labelling."""

from __future__ import annotations

import time

import numpy as np
import pytest

from adcopilot_edge.regions import Region, connected_boxes, connected_regions
from adcopilot_edge.types import BBox, MaskArray


def parse(*rows: str) -> MaskArray:
    return np.array([[character == "#" for character in row] for row in rows])


def flood_boxes(mask: MaskArray, min_area: int) -> list[BBox]:
    """The same by flood fill, one pixel at a time."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    boxes = []
    for start in sorted(left):
        if start not in left:
            continue
        left.discard(start)
        region, todo = [start], [start]
        while todo:
            y, x = todo.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            region += near
            todo += near
        ys, xs = zip(*region, strict=True)
        if len(region) >= min_area:
            boxes.append((float(min(xs)), float(min(ys)), max(xs) + 1.0, max(ys) + 1.0))
    return boxes


@pytest.mark.parametrize(
    ("mask", "boxes"),
    [
        (parse("...", "..."), []),
        (parse("###", "###"), [(0, 0, 3, 2)]),
        # Corners connect, in both directions.
        (parse("#..", ".#.", "..#"), [(0, 0, 3, 3)]),
        (parse("..#", ".#.", "#.."), [(0, 0, 3, 3)]),
        # The end of one row and the start of the next do not.
        (parse("..#", "...", "#.."), [(2, 0, 3, 1), (0, 2, 1, 3)]),
        (parse("...#", "#..."), [(3, 0, 4, 1), (0, 1, 1, 2)]),
        # A U joins two runs only at its foot.
        (parse("#.#", "#.#", "###"), [(0, 0, 3, 3)]),
        # In the order of the first pixel.
        (parse("...##", "##.##", "##..."), [(3, 0, 5, 2), (0, 1, 2, 3)]),
    ],
)
def test_boxes_of_small_masks(mask: MaskArray, boxes: list[BBox]) -> None:
    assert connected_boxes(mask, min_area=1) == boxes


def test_regions_know_their_areas() -> None:
    mask = parse("##..#", "#...#", "....#")
    assert connected_regions(mask) == [Region((0, 0, 2, 2), 3), Region((4, 0, 5, 3), 3)]


def test_small_regions_are_left_out() -> None:
    mask = parse("##..#", "##...", "....#", "...##")
    assert connected_boxes(mask, min_area=3) == [(0, 0, 2, 2), (3, 2, 5, 4)]
    assert connected_boxes(mask, min_area=4) == [(0, 0, 2, 2)]


@pytest.mark.parametrize("density", [0.1, 0.35, 0.45, 0.6, 0.9])
def test_equals_flood_fill(rng: np.random.Generator, density: float) -> None:
    for shape in ((1, 40), (40, 1), (23, 31), (48, 48)):
        mask = rng.random(shape) < density
        for min_area in (1, 5):
            assert connected_boxes(mask, min_area=min_area) == flood_boxes(mask, min_area)


def test_spiral_is_one_region() -> None:
    """The longest chain of runs that a mask of its size can have."""
    mask = np.zeros((64, 64), dtype=np.bool_)
    for inset in range(0, 32, 4):
        ring = slice(inset, 64 - inset)
        mask[inset, ring] = mask[63 - inset, ring] = True
        mask[ring, inset] = mask[ring, 63 - inset] = True
        mask[inset + 1, inset] = False
        mask[inset + 2 : inset + 4, inset : inset + 5] = inset < 28
    assert connected_boxes(mask, min_area=1) == flood_boxes(mask, 1)


def test_a_large_noisy_mask_takes_little_time(rng: np.random.Generator) -> None:
    mask = rng.random((640, 640)) < 0.4
    start = time.perf_counter()
    connected_boxes(mask, min_area=1)
    assert time.perf_counter() - start < 1.0  # 0.05 s on a 2-core machine
