"""Labelled pairs as files: the list's lines, good and malformed, and the folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.calibration.masks import true_boxes
from adcopilot_edge.calibration.pair_list import read_pair_files, read_pair_list
from adcopilot_edge.errors import AspectMismatchError, DatasetError


def put(path: Path, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A golden and two parts, not yet a list."""
    for name in ("golden.png", "a.png", "b.png"):
        put(tmp_path / "line" / name)
    return tmp_path / "line"


def write_list(root: Path, *records: Any) -> Path:
    path = root / "pairs.jsonl"
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return path


def test_lines_become_pairs(root: Path) -> None:
    put(root / "mask.png")
    part = {"golden": "golden.png", "test": "a.png"}
    box = [1, 2, 3.5, 4]
    files = read_pair_files(
        write_list(
            root,
            part,
            part | {"label": "good", "boxes": []},
            part | {"label": "Normal", "conversations": ["..."]},
            part | {"boxes": [box], "category": "lid"},
            part | {"boxes": [box, box], "label": ["dent", "rust"]},
            part | {"boxes": [box, box], "label": "dent", "test": "b.png"},
            part | {"mask": "mask.png", "label": "dent"},
            part | {"label": "dent"},
        )
    ).pairs
    assert [pair.is_anomaly for pair in files] == [
        False,
        False,
        False,
        True,
        True,
        True,
        True,
        True,
    ]
    assert [pair.labels for pair in files] == [
        (), (), (), ("defect",), ("dent", "rust"), ("dent",), ("dent",), ("dent",)
    ]  # fmt: skip
    assert [pair.has_place for pair in files] == [False, True, False, True, True, True, True, False]
    assert files[3].boxes == ((1.0, 2.0, 3.5, 4.0),)
    assert (files[0].category, files[3].category) == ("line", "lid")
    assert files[0].golden == root / "golden.png"


def test_lines_with_boxes_about_one_pair_are_one_pair(root: Path) -> None:
    part = {"golden": "golden.png", "test": "a.png"}
    boxes = [[1, 2, 3, 4], [4, 2, 6, 4], [0, 0, 2, 2]]
    first, other = read_pair_list(
        write_list(
            root,
            part | {"boxes": boxes[:2], "label": "dent"},
            part | {"boxes": boxes[:1], "label": "dent", "test": "b.png"},
            part | {"boxes": boxes[2:], "label": ["rust"]},
        )
    ).pairs
    assert first.boxes == tuple(tuple(map(float, box)) for box in boxes)
    assert first.labels == ("dent", "dent", "rust")
    assert (first.name, other.name, other.labels) == ("a.png", "b.png", ("dent",))


def test_the_hash_is_of_the_list(root: Path) -> None:
    part = {"golden": "golden.png", "test": "a.png"}
    first = read_pair_files(write_list(root, part)).sha256
    assert read_pair_files(root).sha256 == first  # the folder's own list
    assert read_pair_files(write_list(root, part, part)).sha256 != first


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 1: Expecting property name"),
        ("[1]", "must be a JSON object"),
        ({"golden": "golden.png"}, "needs a path under test"),
        ({"golden": "x.png", "test": "a.png"}, "there is no file .*x.png"),
        ({"test": "y.png", "golden": "x.png", "mask": "z.png"}, "x.png, .*y.png, .*z.png"),
        ({"boxes": [[1, 2, 3, 4]], "label": "OK"}, "but there are boxes"),
        ({"box": []}, "has box; known are boxes, category"),
        ({"boxes": 3}, r"boxes must be a list of \[x1"),
        ({"boxes": [[1, 2, 3]]}, r"a box must be \[x1"),
        ({"boxes": [[1, 2, 3, "four"]]}, "a box must be four numbers"),
        ({"boxes": [[3, 2, 1, 4]]}, "must have x1 < x2"),
        ({"boxes": [[1, 2, 3, 4]], "mask": "a.png"}, "has boxes and a mask"),
        ({"boxes": [[1, 2, 3, 4]], "label": "good"}, "but there are boxes"),
        ({"boxes": [[1, 2, 3, 4]], "label": ["a", "b"]}, "has 2 labels for 1 boxes"),
        ({"label": 3}, "label must be a name"),
    ],
)
def test_a_malformed_line_is_named(root: Path, line: Any, words: str) -> None:
    if isinstance(line, dict) and "golden" not in line:
        line = {"golden": "golden.png", "test": "a.png"} | line
    with pytest.raises(DatasetError, match=words):
        read_pair_list(write_list(root, line))


def test_all_malformed_lines_are_named(root: Path) -> None:
    path = write_list(root, *(["{"] * 10))
    with pytest.raises(DatasetError, match=r"line 1: .*line 8: .*and 2 more"):
        read_pair_list(path)
    with pytest.raises(DatasetError, match="it has no line"):
        read_pair_list(write_list(root, ""))


def test_folders(tmp_path: Path) -> None:
    for name in ("golden/golden.png", "good/1.png", "bad/2.png", "bad/crack/3.png"):
        put(tmp_path / name)
    pairs = read_pair_files(tmp_path).pairs
    assert [(pair.name, pair.labels) for pair in pairs] == [
        ("good/1.png", ()),
        ("bad/2.png", ("defect",)),
        ("bad/crack/3.png", ("crack",)),
    ]
    assert {pair.golden.name for pair in pairs} == {"golden.png"}
    put(tmp_path / "golden" / "1.png")
    with pytest.raises(DatasetError, match=r"none under the name of 2\.png, 3\.png"):
        read_pair_files(tmp_path)
    with pytest.raises(DatasetError, match="holds no labelled pairs"):
        read_pair_files(tmp_path / "good")


def test_whole_scans_of_deeppcb(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "boards.json").write_text('{"7": "east"}')
    (tmp_path / "pairs" / "7.txt").write_text("1 2 30 40 1\n5 6 70 80 6\n")
    files = read_pair_files(tmp_path)
    (pair,) = files.pairs
    assert (pair.name, pair.category, pair.labels) == ("7", "east", ("open", "pin hole"))
    assert pair.boxes == ((1, 2, 30, 40), (5, 6, 70, 80))
    assert (pair.golden.name, pair.test.name) == ("7_temp.png", "7_test.png")
    (tmp_path / "pairs" / "7.txt").write_text("1 2 30 41 1\n")
    assert read_pair_files(tmp_path).sha256 != files.sha256


def test_boxes_around_the_regions_of_a_mask(root: Path) -> None:
    """Two regions in a mask of half the image's size, of numbers, not of black and white."""
    values = np.zeros((6, 8), dtype=np.uint8)
    values[1:3, 2:5] = 1
    values[5, 7] = 2
    Image.fromarray(values).save(root / "mask.png")
    record = {"golden": "golden.png", "test": "a.png", "mask": "mask.png"}
    (pair,) = read_pair_list(write_list(root, record)).pairs
    assert true_boxes(pair, 12, 16) == ((4, 2, 10, 6), (14, 10, 16, 12))
    with pytest.raises(AspectMismatchError):
        true_boxes(pair, 12, 12)
    put(root / "mask.png")
    with pytest.raises(DatasetError, match=r"mask.png of a.png is black"):
        true_boxes(pair, 12, 16)
