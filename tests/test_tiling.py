"""Tiles cover the picture; their boxes and maps join into those of the whole."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.tiling import Tile, merge_boxes, plan_tiles, stitch_maps
from adcopilot_edge.types import BBox, BoxSource, Defect


def defect(*bbox: float, label: str = "scratch", source: BoxSource = "map") -> Defect:
    x1, y1, x2, y2 = bbox
    return Defect(label=label, bbox_2d=(x1, y1, x2, y2), source=source)


def boxes_of(defects: tuple[Defect, ...]) -> list[BBox]:
    return [defect.bbox_2d for defect in defects]


@pytest.mark.parametrize(
    ("size", "tile", "overlap", "rows", "columns"),
    [
        ((224, 224), (224, 224), 0.25, [0], [0]),
        ((225, 224), (224, 224), 0.25, [0, 1], [0]),  # one row more: moved inwards by 223
        ((448, 672), (224, 224), 0.0, [0, 224], [0, 224, 448]),
        ((640, 640), (224, 224), 0.25, [0, 168, 336, 416], [0, 168, 336, 416]),
        ((100, 640), (224, 320), 0.5, [0], [0, 160, 320]),  # lower than a tile
        ((3, 2), (2, 1), 0.9, [0, 1], [0, 1]),  # the stride is at least one pixel
    ],
)
def test_the_plan_of_known_sizes(size, tile, overlap, rows, columns):
    tiles = plan_tiles(*size, tile_height=tile[0], tile_width=tile[1], overlap=overlap)
    assert [(t.y, t.x) for t in tiles] == [(y, x) for y in rows for x in columns]
    assert {(t.height, t.width) for t in tiles} == {(min(size[0], tile[0]), min(size[1], tile[1]))}


def test_every_pixel_is_covered_and_neighbours_share_the_overlap():
    rng = random.Random(0)
    for _ in range(300):
        height, width = rng.randint(1, 300), rng.randint(1, 300)
        tile_height, tile_width = rng.randint(1, 120), rng.randint(1, 120)
        overlap = rng.choice([0.0, 0.1, 0.25, 0.5, 0.75])
        tiles = plan_tiles(
            height, width, tile_height=tile_height, tile_width=tile_width, overlap=overlap
        )
        count = np.zeros((height, width, 1), np.uint8)
        for tile in tiles:
            part = tile.crop(count)
            assert part.shape == (tile.height, tile.width, 1)  # nothing beyond the border
            part += 1
        assert count.all()
        starts = sorted({tile.x for tile in tiles})
        shared = [left + tiles[0].width - right for left, right in pairwise(starts)]
        if tile_width * (1 - overlap) >= 1:
            assert all(pixels >= overlap * tiles[0].width for pixels in shared)


@pytest.mark.parametrize(
    "settings",
    [
        {"height": 0, "width": 5},
        {"height": 5, "width": 5, "tile_width": 0},
        {"height": 5, "width": 5, "overlap": 1.0},
        {"height": 5, "width": 5, "overlap": -0.1},
        {"height": 5, "width": 5, "overlap": float("nan")},
    ],
)
def test_bad_plans_are_config_errors(settings):
    with pytest.raises(ConfigError):
        plan_tiles(**{"tile_height": 2, "tile_width": 2, **settings})


def test_a_crop_is_a_view_and_its_boxes_go_back_to_the_picture():
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    tile = Tile(y=2, x=5, height=3, width=2)
    crop = tile.crop(image)
    assert np.shares_memory(crop, image)
    np.testing.assert_array_equal(crop, image[2:5, 5:7])
    assert tile.to_image((0, 0.5, 2, 3)) == (5, 2.5, 7, 5)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([], []),
        ([(0, 0, 10, 10)], [(0, 0, 10, 10)]),
        ([(0, 0, 10, 10), (1, 1, 11, 11)], [(0, 0, 11, 11)]),  # seen by two tiles
        ([(0, 0, 100, 100), (40, 40, 50, 50)], [(0, 0, 100, 100)]),  # one inside the other
        # A scratch through three tiles of 100 that share 25: IoU 0.14, but 0.25 of each.
        (
            [(0, 40, 100, 44), (75, 40, 175, 44), (150, 40, 250, 44)],
            [(0, 40, 250, 44)],
        ),
        ([(0, 0, 10, 10), (9, 9, 19, 19)], [(0, 0, 10, 10), (9, 9, 19, 19)]),  # corners only
        ([(0, 0, 10, 10), (10, 0, 20, 10)], [(0, 0, 10, 10), (10, 0, 20, 10)]),  # touching
        # Two legs of an L join; the box around them swallows the third, which neither touched.
        (
            [(0, 0, 30, 100), (0, 70, 100, 100), (60, 20, 70, 30)],
            [(0, 0, 100, 100)],
        ),
    ],
)
def test_boxes_of_one_defect_join(boxes, expected):
    assert boxes_of(merge_boxes([defect(*box) for box in boxes])) == expected


@pytest.mark.parametrize(("gap", "count"), [(0.0, 2), (5.0, 2), (5.1, 1)])
def test_the_gap_joins_boxes_by_their_distance(gap, count):
    boxes = [defect(0, 0, 10, 10), defect(13, 14, 20, 20)]  # 3 across, 4 down
    assert len(merge_boxes(boxes, gap=gap)) == count


def test_thresholds_of_one_join_nothing():
    boxes = [defect(0, 0, 10, 10), defect(0, 0, 10, 10)]
    assert len(merge_boxes(boxes, iou=1.0, iom=1.0)) == 2


def test_text_and_map_never_join():
    boxes = [defect(0, 0, 10, 10, source="text"), defect(0, 0, 10, 10, source="map")]
    assert merge_boxes(boxes) == tuple(boxes)


def test_the_label_with_the_most_area_wins():
    defects = [
        defect(0, 0, 10, 10, label="stain"),
        defect(0, 0, 9, 9, label="crack"),
        defect(1, 1, 10, 10, label="crack"),
        defect(50, 50, 60, 60, label="dent"),
    ]
    assert [merged.label for merged in merge_boxes(defects)] == ["crack", "dent"]


def test_merging_is_stable_for_random_boxes():
    rng = np.random.default_rng(0)
    for _ in range(30):
        corners, sizes = rng.uniform(0, 300, (25, 2)), rng.uniform(1, 60, (25, 2))
        defects = [defect(*low, *(low + size)) for low, size in zip(corners, sizes, strict=True)]
        merged = merge_boxes(defects, gap=2.0)
        assert merge_boxes(merged, gap=2.0) == merged
        reversed_boxes = boxes_of(merge_boxes(defects[::-1], gap=2.0))
        assert sorted(boxes_of(merged)) == sorted(reversed_boxes)


def test_maps_of_tiles_without_overlap_are_laid_side_by_side():
    whole = np.random.default_rng(0).random((32, 48), dtype=np.float32)
    tiles = plan_tiles(448, 672, tile_height=224, tile_width=224, overlap=0.0)
    maps = [whole[t.y // 14 : t.y // 14 + 16, t.x // 14 : t.x // 14 + 16] for t in tiles]
    np.testing.assert_array_equal(stitch_maps(tiles, maps, 448, 672), whole)


def test_where_tiles_overlap_the_maximum_counts():
    tiles = plan_tiles(28, 42, tile_height=28, tile_width=28, overlap=0.5)
    maps = [np.full((2, 2), value, np.float32) for value in (0.2, 0.7)]
    expected = np.array([[0.2, 0.7, 0.7]] * 2, np.float32)
    np.testing.assert_array_equal(stitch_maps(tiles, maps, 28, 42), expected)


def test_no_value_is_lost_and_no_cell_is_empty():
    rng = np.random.default_rng(1)
    for _ in range(100):
        height, width = (int(side) for side in rng.integers(40, 700, 2))
        tiles = plan_tiles(height, width, tile_height=224, tile_width=112, overlap=0.25)
        maps = [rng.uniform(0.1, 1.0, (16, 8)).astype(np.float32) for _ in tiles]
        stitched = stitch_maps(tiles, maps, height, width)
        assert stitched.dtype == np.float32
        assert stitched.shape == (height * 16 // min(height, 224), width * 8 // min(width, 112))
        assert stitched.min() >= np.float32(0.1)
        assert stitched.max() == max(patch_map.max() for patch_map in maps)


def test_a_hot_patch_lands_where_it_is_in_the_picture():
    tiles = plan_tiles(640, 640, tile_height=224, tile_width=224)
    maps = [np.zeros((16, 16), np.float32) for _ in tiles]
    maps[-1][5, 10] = 1.0  # centre at y = 416 + 5.5 * 14 = 493, x = 416 + 10.5 * 14 = 563
    stitched = stitch_maps(tiles, maps, 640, 640)
    row, column = np.unravel_index(stitched.argmax(), stitched.shape)
    pitch = 640 / stitched.shape[0]
    assert row * pitch <= 493 < (row + 1) * pitch
    assert column * pitch <= 563 < (column + 1) * pitch


def test_maps_that_do_not_match_the_tiles_are_config_errors():
    tiles = plan_tiles(28, 42, tile_height=28, tile_width=28, overlap=0.5)
    one, other = np.zeros((2, 2), np.float32), np.zeros((2, 3), np.float32)
    for maps in ([], [one], [one, other]):
        with pytest.raises(ConfigError):
            stitch_maps(tiles, maps, 28, 42)
    with pytest.raises(ConfigError):
        stitch_maps([], [], 28, 42)
