"""Pairs to take ranges from, in the layouts that people have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.calibration.pairs import CalibrationPairs, read_calibration
from adcopilot_edge.errors import (
    AspectMismatchError,
    DatasetError,
    ImageDecodeError,
    TooFewSamplesError,
)


def put(path: Path, value: int, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One golden image, three good parts, one bad one, and a file that is no picture."""
    root = tmp_path / "line"
    put(root / "golden" / "golden.png", 1)
    for index in range(3):
        put(root / "good" / f"{index}.png", 10 + index)
    put(root / "bad" / "0.jpg", 20)
    (root / "good" / "notes.txt").write_text("mine")
    return root


def names(pairs: CalibrationPairs) -> list[str]:
    return [pair.name for pair in pairs.pairs]


def test_good_and_bad_parts_take_turns(root: Path) -> None:
    pairs = read_calibration(root, count=4, tile=64)
    assert pairs.name == "line"
    found = names(pairs)
    assert sorted(found) == ["bad/0.jpg", "good/0.png", "good/1.png", "good/2.png"]
    assert found[1] == "bad/0.jpg"
    assert names(read_calibration(root, count=2, tile=64))[1] == "bad/0.jpg"
    for pair in pairs.pairs:
        assert pair.category == "line"
        if pair.name == "good/0.png":
            assert (pair.golden[0, 0, 0], pair.test[0, 0, 0]) == (1, 10)
    assert names(pairs) == found  # more than once
    assert names(read_calibration(root, count=4, tile=64)) == found


def test_a_part_has_the_golden_of_its_own_name(root: Path) -> None:
    put(root / "golden" / "1.png", 2)
    put(root / "golden" / "0.png", 3)
    put(root / "golden" / "2.png", 4)
    pairs = read_calibration(root, count=4, tile=64)
    found = {pair.name: int(pair.golden[0, 0, 0]) for pair in pairs.pairs}
    assert found == {"good/0.png": 3, "good/1.png": 2, "good/2.png": 4, "bad/0.jpg": 3}
    (root / "golden" / "2.png").unlink()
    with pytest.raises(DatasetError, match=r"golden holds 3 images, but none under .* of 2\.png"):
        read_calibration(root, count=1, tile=64)


def test_one_kind_of_parts_is_enough(root: Path) -> None:
    for path in (root / "good").iterdir():
        path.unlink()
    assert names(read_calibration(root, count=1, tile=64)) == ["bad/0.jpg"]


def test_too_few_parts(root: Path) -> None:
    with pytest.raises(
        TooFewSamplesError,
        match=r"has 4 different pairs, 5 are needed \(line good 3, line defective 1\)",
    ):
        read_calibration(root, count=5, tile=64)


def test_another_layout(tmp_path: Path) -> None:
    put(tmp_path / "test-images" / "0.png", 1)
    with pytest.raises(DatasetError, match=r"no labelled pairs: it needs pairs\.jsonl, or golden/"):
        read_calibration(tmp_path, count=1, tile=64)
    with pytest.raises(DatasetError, match="holds no labelled pairs"):
        read_calibration(tmp_path / "nowhere", count=1, tile=64)


def test_a_part_of_another_size(root: Path) -> None:
    put(root / "bad" / "0.jpg", 20, size=(7, 4))
    with pytest.raises(DatasetError, match=r"0\.jpg has 7x4 pixels, its golden image 6x4"):
        read_calibration(root, count=4, tile=64)


def test_a_damaged_picture(root: Path) -> None:
    (root / "bad" / "0.jpg").write_bytes(b"")
    with pytest.raises(ImageDecodeError):
        read_calibration(root, count=4, tile=64)


def test_pixels_are_not_kept(root: Path) -> None:
    pairs = read_calibration(root, count=4, tile=64)
    first = names(pairs)[0]
    put(root / first, 77)
    assert next(iter(pairs.pairs)).test[0, 0, 0] == 77


def test_a_part_under_two_names_counts_once(root: Path) -> None:
    put(root / "good" / "again.png", 10)
    pairs = read_calibration(root, count=4, tile=64)
    assert pairs.coverage is not None
    assert (pairs.coverage.num_seen, pairs.coverage.num_duplicates) == (4, 1)
    with pytest.raises(TooFewSamplesError, match="1 more have the pixels of another"):
        read_calibration(root, count=5, tile=64)


def test_the_hash_is_of_all_pixels(root: Path) -> None:
    before = read_calibration(root, count=4, tile=64).sha256()
    assert read_calibration(root, count=4, tile=64).sha256() == before
    assert read_calibration(root, count=3, tile=64).sha256() != before
    put(root / "good" / "2.png", 99)
    assert read_calibration(root, count=4, tile=64).sha256() != before


def test_tiles_of_circuit_boards(shared_data: Path) -> None:
    pairs = read_calibration(shared_data / "deeppcb", count=4, tile=112)
    found = list(pairs.pairs)
    assert pairs.name == "deeppcb"
    assert [pair.test.shape for pair in found] == [(112, 112, 3)] * 4
    assert sum(pair.is_anomaly for pair in found) == 2
    assert not np.array_equal(found[0].golden, found[0].test)
    assert pairs.coverage is not None
    # Some tiles of this size hold nothing at all, and are equal.
    assert pairs.coverage.num_seen + pairs.coverage.num_duplicates == 12
    assert {stratum.is_anomaly for stratum in pairs.coverage.strata} == {True, False}
    other = read_calibration(shared_data / "deeppcb", count=4, tile=112, seed=1)
    assert other.sha256() != pairs.sha256()


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A list of a good part, a bad one with a box, and a bad one with a mask."""
    for index, name in enumerate(("g.png", "a.png", "b.png", "c.png")):
        put(tmp_path / name, 10 * index, size=(8, 6))
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 4:7] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    records: list[dict[str, object]] = [
        {"test": "a.png", "category": "bolt", "label": "good", "conversations": ["..."]},
        {"test": "b.png", "category": "bolt", "label": "scratch", "boxes": [[1, 2, 3, 4]]},
        {"test": "c.png", "category": "lid", "label": "stain", "mask": "mask.png"},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps({"golden": "g.png", **record}) for record in records))
    return path


def test_a_list_is_a_source(lines: Path) -> None:
    pairs = read_calibration(lines, count=3, tile=64)
    assert pairs.name == "pairs.jsonl"
    found = {
        pair.name: (pair.category, pair.boxes, pair.labels, int(pair.test[0, 0, 0]))
        for pair in pairs.pairs
    }
    assert found == {
        "a.png": ("bolt", (), (), 10),
        "b.png": ("bolt", ((1, 2, 3, 4),), ("scratch",), 20),
        "c.png": ("lid", ((4, 1, 7, 3),), ("stain",), 30),
    }
    with pytest.raises(TooFewSamplesError, match="bolt good 1, bolt defective 1, lid defective 1"):
        read_calibration(lines, count=4, tile=64)


def test_a_label_alone_is_a_defect_somewhere(lines: Path) -> None:
    lines.write_text('{"golden": "g.png", "test": "a.png", "label": "dent"}')
    (pair,) = read_calibration(lines, count=1, tile=64).pairs
    assert (pair.is_anomaly, pair.is_unplaced, pair.boxes) == (True, True, ())


def test_a_mask_of_another_view(lines: Path) -> None:
    put(lines.with_name("mask.png"), 255, size=(9, 6))
    with pytest.raises(AspectMismatchError):
        read_calibration(lines, count=3, tile=64)
