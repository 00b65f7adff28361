"""Pairs to take ranges from, in the layouts that people have."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.calibration.pairs import CalibrationPairs, read_calibration
from adcopilot_edge.errors import DatasetError, ImageDecodeError, TooFewSamplesError


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
    assert names(pairs) == ["good/0.png", "bad/0.jpg", "good/1.png", "good/2.png"]
    assert names(read_calibration(root, count=2, tile=64)) == ["good/0.png", "bad/0.jpg"]
    first = next(iter(pairs.pairs))
    assert first.category == "line"
    assert (first.golden[0, 0, 0], first.test[0, 0, 0]) == (1, 10)
    assert names(pairs) == names(pairs)  # more than once


def test_a_part_has_the_golden_of_its_own_name(root: Path) -> None:
    put(root / "golden" / "1.png", 2)
    put(root / "golden" / "0.png", 3)
    pairs = read_calibration(root, count=3, tile=64)
    assert [int(pair.golden[0, 0, 0]) for pair in pairs.pairs] == [3, 3, 2]
    with pytest.raises(DatasetError, match=r"golden holds 3 images, but none under .* of 2\.png"):
        read_calibration(root, count=4, tile=64)


def test_one_kind_of_parts_is_enough(root: Path) -> None:
    for path in (root / "good").iterdir():
        path.unlink()
    assert names(read_calibration(root, count=1, tile=64)) == ["bad/0.jpg"]


def test_too_few_parts(root: Path) -> None:
    with pytest.raises(TooFewSamplesError, match="has 4 parts, 5 are needed"):
        read_calibration(root, count=5, tile=64)


def test_another_layout(tmp_path: Path) -> None:
    put(tmp_path / "test-images" / "0.png", 1)
    with pytest.raises(DatasetError, match="is no folder of pairs: it needs golden/"):
        read_calibration(tmp_path, count=1, tile=64)
    with pytest.raises(DatasetError, match="is no folder of pairs"):
        read_calibration(tmp_path / "nowhere", count=1, tile=64)


def test_a_part_of_another_size(root: Path) -> None:
    put(root / "bad" / "0.jpg", 20, size=(7, 4))
    pairs = read_calibration(root, count=4, tile=64)
    with pytest.raises(DatasetError, match=r"0\.jpg has 7x4 pixels, its golden image 6x4"):
        names(pairs)


def test_a_damaged_picture(root: Path) -> None:
    (root / "bad" / "0.jpg").write_bytes(b"")
    with pytest.raises(ImageDecodeError):
        names(read_calibration(root, count=4, tile=64))


def test_pictures_are_read_when_their_turn_comes(root: Path) -> None:
    pairs = read_calibration(root, count=4, tile=64)
    (root / "good" / "2.png").unlink()
    assert len(list(itertools.islice(pairs.pairs, 3))) == 3


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
    assert [pair.is_anomaly for pair in found] == [True, False, True, False]
    assert not np.array_equal(found[0].golden, found[0].test)
    other = read_calibration(shared_data / "deeppcb", count=4, tile=112, seed=1)
    assert other.sha256() != pairs.sha256()
