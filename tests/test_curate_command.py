"""``curate --check`` through the program: what it prints, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A YOLO data set: one image with two defects, one normal."""
    root = tmp_path / "set"
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("L", (40, 20)).save(root / "images" / f"{name}.png")
    (root / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text("names: [dent, scratch]")
    return root


def test_a_whole_folder_is_told_and_exits_with_0(cli: Cli, folder: Path) -> None:
    code, out, _ = cli("curate", folder, "--check")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines == [
        f"folder {folder}",
        "layout yolo",
        "images 2: 1 normal, 1 defective",
        "defects 2, 2 of them placed",
        "dent 1",
        "scratch 1",
        "wrong nothing",
    ]


def test_findings_are_listed_and_exit_with_5(cli: Cli, folder: Path) -> None:
    annotation = folder / "labels" / "a.txt"
    annotation.write_text("0 0.5 0.5\n7 0.5 0.5 0.2 0.2\n")
    code, out, _ = cli("curate", folder, "--check")
    assert code == 5
    assert "wrong      2" in out
    assert f"  {annotation}: line 1: expected" in out
    assert f"  {annotation}: line 2: class 7 has no name" in out


def test_json_has_every_folder_also_one_that_no_reader_knows(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    code, out, _ = cli("curate", tmp_path / "other", folder, "--check", "--json")
    assert code == 5
    record = json.loads(out)
    other, known = record["sources"]
    assert record["findings"] == 1
    assert (other["layout"], other["images"], len(other["findings"])) == (None, 0, 1)
    assert "none of the known layouts" in other["findings"][0]["what"]
    assert known == {
        "folder": str(folder),
        "layout": "yolo",
        "images": 2,
        "normal": 1,
        "defective": 1,
        "defects": {"dent": 1, "scratch": 1},
        "placed": 2,
        "findings": [],
    }


def test_a_named_layout_says_what_the_folder_lacks(cli: Cli, folder: Path) -> None:
    code, out, _ = cli("curate", folder, "--check", "--layout", "voc", "--json")
    assert code == 5
    (source,) = json.loads(out)["sources"]
    assert source["layout"] == "voc"
    assert "no XML files" in source["findings"][0]["what"]


def test_a_layout_that_nobody_knows_lists_the_known(cli: Cli, folder: Path) -> None:
    code, out, _ = cli("curate", folder, "--check", "--layout", "pascal")
    assert code == 5
    assert "there is no layout 'pascal'; known are: deeppcb" in out


def test_without_check_it_says_that_it_only_checks(cli: Cli, folder: Path) -> None:
    code, _, err = cli("curate", folder)
    assert code == 2
    assert "add --check" in err
