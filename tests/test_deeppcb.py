"""The DeepPCB reader on a tiny folder of its own, its errors, and the baseline on the real data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.calibration.deeppcb import cut_boxes, read_pair, read_tiles
from adcopilot_edge.calibration.difference import find_differences, open_mask
from adcopilot_edge.deeppcb_files import BoardBox, read_boxes
from adcopilot_edge.errors import ConfigError, DatasetError, TooFewSamplesError
from adcopilot_edge.metrics import balanced_accuracy, draw_boxes, measure_boxes

REAL = Path(__file__).parents[2] / "shared" / "data" / "deeppcb"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four pairs on two boards; each has a 12 px hole inside a box in two places."""
    (tmp_path / "pairs").mkdir()
    table = {f"{board}{n}": board for board in ("east", "west") for n in (1, 2)}
    (tmp_path / "boards.json").write_text(json.dumps(table))
    golden = np.full((640, 640), 255, dtype=np.uint8)
    golden[100:500, 100:500] = 0
    test = golden.copy()
    test[194:206, 194:206] = test[394:406, 394:406] = 255
    for pair_id in table:
        for image, name in ((golden, "temp"), (test, "test")):
            path = tmp_path / "pairs" / f"{pair_id}_{name}.png"
            Image.fromarray(image).convert("1").save(path)
        (tmp_path / "pairs" / f"{pair_id}.txt").write_text("184 184 216 216 6\n384 384 416 416 6\n")
    return tmp_path


def test_tiles_alternate_and_take_boards_in_turn(root: Path) -> None:
    tiles = read_tiles(root, tile=160, count=24, seed=1)
    assert [tile.is_anomaly for tile in tiles] == [True, False] * 12
    assert [tile.category for tile in tiles] == ["east", "east", "west", "west"] * 6
    for tile in tiles:
        assert tile.golden.shape == tile.test.shape == (160, 160, 3)
        assert tile.golden.dtype == np.uint8
        differs = (tile.golden != tile.test).any(axis=2)
        # Good tiles hold no part of a hole, and boxes hold all of it.
        assert differs.any() == tile.is_anomaly
        assert not (differs & ~draw_boxes(tile.boxes, 160, 160)).any()
        assert set(tile.labels) <= {"pin hole"}
    assert len({tile.name for tile in tiles}) == 24


def test_the_same_seed_gives_the_same_tiles(root: Path) -> None:
    first, again, other = (read_tiles(root, tile=160, count=8, seed=seed) for seed in (5, 5, 6))
    assert [tile.name for tile in first] == [tile.name for tile in again]
    assert [tile.name for tile in first] != [tile.name for tile in other]
    np.testing.assert_array_equal(first[0].test, again[0].test)


def test_boards_may_be_chosen(root: Path) -> None:
    tiles = read_tiles(root, tile=160, count=6, boards=["west"])
    assert {tile.category for tile in tiles} == {"west"}
    with pytest.raises(DatasetError, match=r"no board south; known are: east, west"):
        read_tiles(root, boards=["south"])


def test_whole_pair(root: Path) -> None:
    pair = read_pair(root, "east1", "east")
    assert pair.test.shape == (640, 640, 3)
    assert pair.boxes == ((184, 184, 216, 216), (384, 384, 416, 416))


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ((0, 0, 50, 50), []),
        ((100, 100, 200, 200), [(0, 0, 10, 10)]),
        ((104, 90, 200, 200), [(0, 10, 6, 20)]),  # exactly 60 % stays
        ((105, 90, 200, 200), None),  # half of it
        ((109, 109, 200, 200), None),  # a corner
        ((110, 110, 200, 200), []),  # touches from outside
    ],
)
def test_cut_boxes(
    window: tuple[int, int, int, int], expected: list[tuple[int, int, int, int]] | None
) -> None:
    inside = cut_boxes([BoardBox((100, 100, 110, 110), "open")], window)
    assert (inside if inside is None else [box.bbox for box in inside]) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3 4 1\n1 2 three 4 1\n", r"line 2: expected 'x1 y1 x2 y2 type'.*'1 2 three 4 1'"),
        ("1 2 3 4\n", r"line 1: expected 'x1 y1 x2 y2 type'"),
        ("\n9 2 3 4 1\n", r"line 2: expected 0 <= x1 < x2"),
        ("1 2 3 4 7\n", r"line 1: .*type from 1 to 6"),
        ("1 2 700 4 1\n", r"line 1: expected 0 <= x1 < x2 <= 640"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(DatasetError, match=words) as caught:
        read_boxes(path)
    assert str(path) in str(caught.value)


def test_missing_and_broken_files_are_named(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"no DeepPCB data at .*nowhere"):
        read_tiles(root / "nowhere")
    image = root / "pairs" / "east1_test.png"
    image.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"can't read the image .*east1_test.png"):
        read_pair(root, "east1", "east")
    Image.new("L", (20, 20)).save(image)
    with pytest.raises(DatasetError, match=r"must have 640x640 pixels, got \(20, 20\)"):
        read_pair(root, "east1", "east")
    (root / "pairs" / "east1.txt").unlink()
    with pytest.raises(DatasetError, match=r"can't read the annotation .*east1.txt"):
        read_pair(root, "east1", "east")
    (root / "boards.json").write_text("[1, 2]")
    with pytest.raises(DatasetError, match=r"must be one JSON object"):
        read_tiles(root)
    (root / "boards.json").write_text("{")
    with pytest.raises(DatasetError, match=r"as JSON"):
        read_tiles(root)


def test_says_when_there_are_too_few_places(root: Path) -> None:
    with pytest.raises(TooFewSamplesError, match=r"no further good tile of 600 px on board east"):
        read_tiles(root, tile=600, count=4)
    with pytest.raises(ConfigError, match=r"16 to 640 pixels a side, got 641"):
        read_tiles(root, tile=641)


def test_opening_keeps_what_the_square_fits_into() -> None:
    mask = np.zeros((20, 20), dtype=np.bool_)
    mask[2:8, 3:7] = True  # 6 x 4
    mask[12:15, :] = True  # 3 px high: goes
    kept = np.zeros_like(mask)
    kept[2:8, 3:7] = True
    np.testing.assert_array_equal(open_mask(mask, 4), kept)
    np.testing.assert_array_equal(open_mask(mask, 1), mask)
    assert not open_mask(mask, 21).any()


def test_difference_finds_the_hole_and_nothing_else(root: Path) -> None:
    pair = read_pair(root, "east1", "east")
    assert find_differences(pair.golden, pair.test, growth=10) == list(pair.boxes)
    assert find_differences(pair.golden, pair.golden) == []


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the DeepPCB data is not at {REAL}")
def test_baseline_on_the_real_data() -> None:
    """Over three seeds the verdict was 0.94 to 0.965 and the mean IoU 0.57 to 0.60."""
    tiles = read_tiles(REAL, count=400, seed=0)
    predicted = [find_differences(tile.golden, tile.test) for tile in tiles]
    verdict = balanced_accuracy([tile.is_anomaly for tile in tiles], [bool(b) for b in predicted])
    boxes = measure_boxes(tiles, predicted)
    assert boxes.num_pairs == 200
    assert verdict == pytest.approx(0.95, abs=0.03)
    assert boxes.mean_iou == pytest.approx(0.58, abs=0.05)
    assert boxes.accuracy[0.3] == pytest.approx(0.88, abs=0.05)
