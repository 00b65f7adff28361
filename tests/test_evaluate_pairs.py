"""``evaluate pairs`` and ``evaluate mmad-bbox`` from the command line, on the toy bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mmad_folder import BAD, DEFECT, LOCO_MASK, MASK, picture, write_mmad
from PIL import Image

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import AspectMismatchError, ConfigError, DatasetError
from adcopilot_edge.metrics import box_mask_iou

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(cli: Call, toy_bundle: Bundle, tmp_path: Path) -> Call:
    """Runs ``evaluate`` into tmp_path / "run"; returns exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        out = [] if "--out" in words else ["--out", tmp_path / "run"]
        return cli("evaluate", *words, "--bundle", toy_bundle.path, "--threads", 1, *out)

    return run


@pytest.fixture
def mmad(tmp_path: Path) -> Path:
    return write_mmad(tmp_path / "MMAD")


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A list of four pairs: found, found, good, and a bad part in which nothing can be seen."""
    folder = tmp_path / "line"
    folder.mkdir()
    for name, is_bad in (("golden", False), ("bad", True), ("good", False)):
        picture(is_bad=is_bad).save(folder / f"{name}.png")
    golden = {"golden": "golden.png"}
    boxes = {"boxes": [DEFECT], "label": "scratch"}
    records = [
        golden | {"test": "bad.png", "category": "lid"} | boxes,
        golden | {"test": "good.png", "category": "lid"},
        {"golden": "bad.png", "test": "bad.png", "category": "cup"} | boxes,
        {"golden": "good.png", "test": "bad.png", "category": "cup", "label": "dent"},
    ]
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_pairs(call: Call, line: Path, tmp_path: Path) -> None:
    code, out, _ = call("pairs", line, "--json", "--no-text")
    assert code == 0
    report = json.loads(out)
    figures = ("pairs", "bad", "balanced_accuracy", "escapes", "overkill", "uncertain")
    assert [report[name] for name in figures] == [4, 3, round((2 / 3 + 1) / 2, 4), 1, 0, 0]
    assert report["by_label"]["scratch"] == {"pairs": 2, "escapes": 1}
    assert report["by_category"]["lid"]["escapes"] == 0
    assert report["boxes"]["scored"] == 2
    # The patches that the defect touches: one of the two scored pairs; nothing in the other.
    iou = box_mask_iou([(28, 14, 56, 42)], [DEFECT], 56, 84)
    assert report["boxes"]["map"]["all"]["miou"] == pytest.approx(iou / 2, abs=1e-4)
    assert report["worst"][0] == "bad.png"
    with Image.open(tmp_path / "run" / "worst.png") as sheet:
        assert sheet.mode == "RGB"
    assert json.loads((tmp_path / "run" / "report.json").read_text())["escapes"] == 1


def test_pairs_in_words_and_for_people(call: Call, line: Path) -> None:
    code, out, _ = call("pairs", line, "--max-new-tokens", 4)
    assert code == 0
    assert ["scratch", "2", "1"] in [row.split() for row in out.splitlines()]
    assert "(normal) 1" in out
    assert "words" in out


def test_a_second_run_inspects_nothing(
    call: Call, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = call("pairs", line, "--json", "--no-text")[1]
    monkeypatch.setattr(
        "adcopilot_edge.runtime.inspector.Inspector.inspect", lambda *_, **__: pytest.fail("again")
    )
    assert call("pairs", line, "--json", "--no-text")[1] == first


def test_bbox_on_mmad(call: Call, mmad: Path) -> None:
    code, out, err = call("mmad-bbox", mmad, "--json", "--max-new-tokens", 4)
    assert code == 0
    report = json.loads(out)
    assert (report["scored"], report["normal"], report["without_mask"]) == (2, 1, [])
    iou = box_mask_iou([(28, 14, 56, 42)], [DEFECT], 56, 84)
    assert report["map"]["all"]["miou"] == pytest.approx(iou, abs=1e-4)
    assert report["map"]["normal_with_boxes"] == 0
    assert set(report["map"]["by_category"]) == {"DS-MVTec", "MVTec-LOCO"}
    assert report["words"]["all"]["miou"] == 0  # the toy writes no boxes
    assert report["words"]["unreadable"] == 3
    assert "1 image is known to be wrong" in err


def test_either_spelling_of_the_masks(call: Call, mmad: Path) -> None:
    (mmad / "DS-MVTec/bottle/rbg_mask").rename(mmad / "DS-MVTec/bottle/rgb_mask")
    assert json.loads(call("mmad-bbox", mmad, "--json", "--no-text")[1])["scored"] == 2


def test_a_missing_mask_is_told(call: Call, mmad: Path) -> None:
    (mmad / MASK).unlink()
    code, out, _ = call("mmad-bbox", mmad, "--no-text")
    assert code == 0
    assert "1 abnormal image is without, not scored" in out
    (mmad / LOCO_MASK).unlink()
    code, _, err = call("mmad-bbox", mmad, "--no-text")
    assert code == DatasetError.exit_code
    assert "nothing to score" in err


def test_bbox_on_a_list(call: Call, line: Path) -> None:
    report = json.loads(call("mmad-bbox", line, "--json", "--no-text")[1])
    assert (report["scored"], report["normal"], report["without_place"]) == (2, 1, 1)
    code, _, err = call("mmad-bbox", line, "--similar-template")
    assert code == ConfigError.exit_code
    assert "goes with a folder that has mmad.json" in err


def test_a_template_of_other_proportions(call: Call, mmad: Path) -> None:
    template = mmad / "MVTec-AD/bottle/train/good/000.png"
    with Image.open(template) as image:
        square = image.resize((84, 84))
    square.save(template)
    code, out, _ = call("mmad-bbox", mmad, "--json", "--no-text")
    assert code == 0
    assert json.loads(out)["scored"] == 2
    records = {"golden": template.name, "test": (mmad / BAD).as_posix(), "label": "dent"}
    (template.parent / "pairs.jsonl").write_text(json.dumps(records))
    code, _, err = call("pairs", template.parent, "--no-text", "--out", mmad / "run")
    assert code == AspectMismatchError.exit_code
    assert "their proportions differ" in err
