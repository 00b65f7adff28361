"""``evaluate deeppcb`` and ``evaluate synthetic`` from the command line, on the toy bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy import MODEL, write_toy_bundle

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.calibration.evaluate import Predictions, summarize
from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.types import LabelledPair

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(cli: Call, toy_bundle: Bundle) -> Call:
    """Runs ``evaluate``; returns exit code, stdout and stderr."""

    def run(*words: object, bundle: Path = toy_bundle.path) -> tuple[int, str, str]:
        return cli("evaluate", *words, "--bundle", bundle, "--threads", 1, "--pairs", 4)

    return run


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """DeepPCB's layout with one pair: a dark plate with two holes, each in its box."""
    root = tmp_path / "DeepPCB"
    (root / "pairs").mkdir(parents=True)
    (root / "boards.json").write_text('{"1": "east"}')
    golden = np.full((640, 640), 255, dtype=np.uint8)
    golden[100:500, 100:500] = 0
    test = golden.copy()
    test[194:206, 194:206] = test[394:406, 394:406] = 255
    for image, name in ((golden, "temp"), (test, "test")):
        Image.fromarray(image).convert("1").save(root / "pairs" / f"1_{name}.png")
    (root / "pairs" / "1.txt").write_text("190 190 210 210 6\n390 390 410 410 6\n")
    return root


def test_deeppcb_against_another_bundle(call: Call, scans: Path, damaged_bundle: Path) -> None:
    copy = damaged_bundle  # which nothing has changed yet
    code, out, _ = call("deeppcb", scans, "--against", copy, "--json", "--no-text")
    assert code == 0
    report = json.loads(out)
    difference, mine, other = report["results"]
    assert difference["name"] == "image difference"
    assert mine["pairs"] == 4
    assert mine["balanced_accuracy"] == 1
    assert mine["thresholds"]["best"]["balanced_accuracy"] == 1
    assert difference["thresholds"] is None
    assert set(mine["boxes"]) == {"map"}
    assert mine["boxes"] == other["boxes"]
    assert report["comparison"]["verdict_flips"] == 0


def test_words_have_a_class(call: Call, scans: Path) -> None:
    code, out, _ = call("deeppcb", scans)
    assert code == 0
    assert "threshold  without an escape at " in out
    assert "boxes of the same class, F-score 0.0000" in out  # the toy writes no boxes


def test_types_are_counted_on_bad_parts_that_were_found() -> None:
    picture = np.zeros((8, 8, 3), dtype=np.uint8)

    def pair(*labels: str) -> LabelledPair:
        boxes = tuple((0.0, 0.0, 2.0, 2.0) for _ in labels)
        return LabelledPair(
            name="p",
            category="c",
            golden=picture,
            test=picture,
            boxes=boxes,
            labels=labels,
        )

    said = Predictions(
        name="x",
        is_anomaly=(True, True, False, True),
        scores=None,
        boxes={},
        types={"text": (("open", "spur"), ("open",), ("spur",), ("hole",))},
    )
    pairs = [pair("open", "spur", "spur"), pair("spur"), pair("spur"), pair()]
    assert summarize(pairs, said)["types"] == {
        "text": {
            "found_bad": 2,
            "exact": 0.5,
            "named": round(2 / 3, 4),
            "true": round(2 / 3, 4),
        }
    }
    assert summarize(pairs, replace(said, types={}))["types"] is None


def test_the_share_of_right_types_is_of_the_boxes_that_were_found() -> None:
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    boxes = ((0.0, 0.0, 4.0, 4.0), (4.0, 4.0, 8.0, 8.0), (0.0, 4.0, 4.0, 8.0))
    pair = LabelledPair(
        name="p",
        category="c",
        golden=picture,
        test=picture,
        boxes=boxes,
        labels=("open", "spur", "short"),
    )
    said = Predictions(
        name="x",
        is_anomaly=(True,),
        scores=None,
        boxes={"map": (boxes[:2],)},
        labels={"map": (("open", "hole"),)},
    )
    matches = summarize([pair], said)["boxes"]["map"]["one_to_one"]
    assert (matches["found"], matches["matched"], matches["type_right"]) == (2, 1, 0.5)


def test_pairs_may_be_of_some_boards_or_surfaces(call: Call, scans: Path, tmp_path: Path) -> None:
    code, out, _ = call("deeppcb", scans, "--no-text", "--json", "--only", "east")
    assert (code, json.loads(out)["only"]) == (0, ["east"])
    code, _, err = call("deeppcb", scans, "--no-text", "--only", "west")
    assert code == DatasetError.exit_code
    assert "west" in err
    code, _, err = call("synthetic", "--no-text", "--only", "moon")
    assert code == ConfigError.exit_code
    code, _, err = call("pairs", scans, "--only", "east")
    assert code == ConfigError.exit_code
    assert "does not take --only" in err


def test_synthetic(call: Call, tmp_path: Path) -> None:
    model = MODEL.model_copy(update={"image_height": 112, "image_width": 112})
    bundle = write_toy_bundle(tmp_path / "bundle", model).path
    code, out, _ = call("synthetic", "--no-text", "--json", "--seed", 0, "--against", bundle)
    assert code == ConfigError.exit_code  # the toy is smaller than the generator's pairs
    assert "size >= 112" in json.loads(out)["error"]["message"]
    code, out, _ = call("synthetic", "--no-text", "--json", "--seed", 0, bundle=bundle)
    assert code == 0
    assert (json.loads(out)["source"], json.loads(out)["seed"]) == ("synthetic", 0)


def test_the_reference_is_another_bundle(call: Call, scans: Path, toy_bundle: Bundle) -> None:
    code, _, err = call("deeppcb", scans, "--against", toy_bundle.path)
    assert code == ConfigError.exit_code
    assert "--against is the bundle itself" in err
