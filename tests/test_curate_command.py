"""``curate`` through the program: what it prints, and its exit codes."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from curation import write_set
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
        "excluded": 0,
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


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A small data set in MVTec AD's layout."""
    return write_set(tmp_path / "line")


def test_a_set_is_made_and_told(cli: Cli, line: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    words = ("--out", out, "--license", "line=CC0-1.0", "--tasks", "locate, choice")
    code, told, _ = cli("curate", line, *words)
    assert code == 0
    lines = [" ".join(line.split()) for line in told.splitlines()]
    for expected in (
        f"set {out}",
        "dialogues 20: train 20",
        "pairs 10: 6 normal, 4 defective",
        "tasks choice 10, locate 10",
        "categories 2",
        "line/lid 10",
        "dent 4",
        "left out nothing",
        f"look at {out / 'sheet.png'}",
    ):
        assert expected in lines
    card = (out / "README.md").read_text()
    assert "| line | 20 | CC0-1.0 |" in card
    assert str(tmp_path) not in card, "nothing of this machine is in a card"


def test_json_has_all_counts(cli: Cli, line: Path, tmp_path: Path) -> None:
    code, told, _ = cli("curate", line, "--out", tmp_path / "set", "--limit", 4, "--json")
    assert code == 0
    record = json.loads(told)
    assert record["pairs"] == 8
    assert record["left_out"] == {}
    assert record["resumed"] is False
    assert record["balance"]["categories"] == {"ratio": 1.0, "effective": 2.0}


def test_a_dry_run_counts_and_writes_nothing(cli: Cli, line: Path, tmp_path: Path) -> None:
    words = ("--dry-run", "--exclude-classes", tmp_path / "classes.txt")
    (tmp_path / "classes.txt").write_text("cup\n")
    before = sorted(tmp_path.rglob("*"))
    code, told, _ = cli("curate", line, *words, "--json")
    assert code == 0
    assert json.loads(told) == {
        "images": 5,
        "normal": 3,
        "defective": 2,
        "categories": {"line/lid": 5},
        "without_templates": [],
        "most_dialogues": 20,
        "left_out": {"exclude: evaluated class": 5},
        "teacher": None,
    }
    code, told, _ = cli("curate", line, *words)
    assert "dialogues  at most 20" in told
    assert sorted(tmp_path.rglob("*")) == before


def test_a_strict_leak_exits_with_5(cli: Cli, line: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cup\n")
    words = ("--exclude-classes", tmp_path / "classes.txt", "--strict", "--out", tmp_path / "set")
    code, _, err = cli("curate", line, *words)
    assert code == 5
    assert "5 images are evaluated on" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "say where the set goes with --out"),
        (["--export", "ms-swift", "--dry-run"], "say where the set goes with --out"),
        (["--export", "ms-swift", "--dry-run", "--out", "set"], "--export has no --dry-run"),
        (["--out", ".", "--seed", "1"], "exists; choose another --out"),
        (["--out", "set", "--tasks", "riddle"], "--tasks riddle: it must be one of caption"),
        (["--out", "set", "--engine", "spark"], "--engine spark: it must be one of local, ray"),
        (["--out", "set", "--split-by", "day"], "--split-by day: it must be one of category"),
        (["--out", "set", "--validation", "1"], "--validation must be 0 or more and below 1"),
        (["--out", "set", "--duplicate-bits", "300"], "--duplicate-bits must be 0 to 64"),
        (["--out", "set", "--license", "MIT"], "--license MIT: write SOURCE=LICENCE"),
        (["--out", "set", "--license", "x=MIT"], "there is no such source; there are: line"),
        (["--out", "set", "--shard-size", "many"], "a size of memory is written"),
        (["--out", "set", "--exclude-images", "nowhere"], "there is no such folder"),
        (["--out", "set", "--exclude-classes", "nowhere"], "there is no such file"),
        (["--out", "set", "--teacher", "nowhere.toml"], "--teacher nowhere.toml can't be read"),
        (["--out", "set", "--knowledge", "nowhere.toml"], "can't read the knowledge file"),
    ],
)
def test_a_wrong_setting_exits_with_2_before_any_work(
    cli: Cli,
    line: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("curate", line, *words)
    assert code == 2
    assert says in err
    assert not (tmp_path / "set").exists()


def test_two_sources_of_one_name_exit_with_5(cli: Cli, line: Path, tmp_path: Path) -> None:
    other = write_set(tmp_path / "other" / "line")
    code, _, err = cli("curate", line, other, "--out", tmp_path / "set")
    assert code == 5
    assert "both called line" in err


def test_packages_that_are_missing_are_named(
    cli: Cli, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "imagehash" else find(name)
    )
    code, _, err = cli("curate", line, "--out", tmp_path / "set")
    assert code == 2
    assert "pip install 'adcopilot-edge[curate]'" in err
