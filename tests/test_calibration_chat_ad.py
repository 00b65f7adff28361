"""Labelled pairs from JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.calibration.chat_ad import read_lines
from adcopilot_edge.calibration.pairs import read_calibration
from adcopilot_edge.errors import DatasetError, TooFewSamplesError


def put(path: Path, value: int, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index, name in enumerate(("g.png", "a.png", "b.png", "c.png")):
        put(tmp_path / "pictures" / name, 10 * index)
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 4:7] = 255
    Image.fromarray(mask).save(tmp_path / "pictures" / "mask.png")
    return tmp_path


def write(root: Path, *lines: dict[str, object] | str) -> Path:
    path = root / "pairs.jsonl"
    rows = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(rows) + "\n")
    return path


def line(test: str, **more: object) -> dict[str, object]:
    return {"golden": "pictures/g.png", "test": f"pictures/{test}", **more}


def test_lines_become_pairs(root: Path) -> None:
    path = write(
        root,
        line("a.png", category="bolt", label="good", conversations=["..."]),
        "",
        line("b.png", category="bolt", label="scratch", boxes=[[1, 2, 3, 4]]),
        line("c.png", label="stain", mask="pictures/mask.png"),
    )
    good, scratched, stained = read_lines(path)
    assert (good.category, good.is_anomaly, good.open().boxes) == ("bolt", False, ())
    pair = scratched.open()
    assert scratched.is_anomaly
    assert (pair.name, pair.boxes, pair.labels) == ("pairs.jsonl:3", ((1, 2, 3, 4),), ("scratch",))
    assert (pair.golden[0, 0, 0], pair.test[0, 0, 0]) == (0, 20)
    pair = stained.open()
    assert (stained.category, pair.boxes, pair.labels) == ("pairs", ((4, 1, 7, 3),), ("stain",))
    assert pair.mask is not None
    assert pair.mask.sum() == 6


@pytest.mark.parametrize(
    ("more", "is_anomaly"),
    [
        ({}, False),
        ({"label": "Normal"}, False),
        ({"label": "dent"}, True),
        ({"boxes": [[0, 0, 1, 1]]}, True),
        ({"mask": "pictures/mask.png"}, True),
    ],
)
def test_what_a_line_says_of_its_part(root: Path, more, is_anomaly: bool) -> None:
    assert read_lines(write(root, line("a.png", **more)))[0].is_anomaly is is_anomaly


def test_all_that_is_wrong_is_told(root: Path) -> None:
    path = write(
        root,
        "{",
        {"golden": "pictures/g.png"},
        line("a.png", boxes=[[1, 2, 3]]),
        line("nowhere.png", mask="lost.png"),
        line("a.png"),
    )
    with pytest.raises(DatasetError) as caught:
        read_lines(path)
    for finding in (
        "line 1: line: Invalid JSON",
        "line 2: test: Field required",
        "line 3: boxes.0",
        "line 4: pictures/nowhere.png is not there; line 4: lost.png is not there",
    ):
        assert finding in str(caught.value)
    with pytest.raises(DatasetError, match="; and 3 more"):
        read_lines(write(root, *["{"] * 13))
    with pytest.raises(DatasetError, match="can't read the list of pairs"):
        read_lines(root / "nowhere.jsonl")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mask": "wide.png"}, "the mask has 9x6 pixels, the test image 8x6"),
        ({"golden": "wide.png"}, "golden and test must both be"),
        ({"boxes": [[3, 0, 1, 1]]}, "a box must have x1 < x2"),
    ],
)
def test_what_does_not_fit_is_told_when_it_is_opened(root: Path, more, message: str) -> None:
    put(root / "wide.png", 1, size=(9, 6))
    (candidate,) = read_lines(write(root, {**line("a.png"), **more}))
    with pytest.raises(DatasetError, match=message):
        candidate.open()


def test_a_file_is_a_source_of_calibration_pairs(root: Path) -> None:
    path = write(root, *(line(name, category="bolt") for name in ("a.png", "b.png", "a.png")))
    pairs = read_calibration(path, count=2, tile=64)
    assert pairs.name == "pairs.jsonl"
    assert sorted(pair.test[0, 0, 0] for pair in pairs.pairs) == [10, 20]
    with pytest.raises(TooFewSamplesError, match="bolt good 2, 1 more"):
        read_calibration(path, count=3, tile=64)
