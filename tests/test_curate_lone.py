"""Data sets without normal images: what ``curate`` says of them before and instead of a set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from curation import curate, write_set
from PIL import Image

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.comparable import LoneCategory, lone_categories
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage

Cli = Callable[..., tuple[int, str, str]]
NO_NORMAL = "2 defective images and no normal one to compare them with"


@pytest.fixture
def bad_only(tmp_path: Path) -> Path:
    """A YOLO data set as steel sheets are published: every image has a defect."""
    root = tmp_path / "steel"
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    for number, name in enumerate(("a", "b")):
        Image.new("L", (40, 20), 90 * number).save(root / "images" / f"{name}.png")
        (root / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text("names: [dent]")
    return root


def test_a_check_finds_a_category_without_normal_images(cli: Cli, bad_only: Path) -> None:
    code, out, _ = cli("curate", bad_only, "--check", "--json")
    assert code == 5
    ((finding,),) = (source["findings"] for source in json.loads(out)["sources"])
    assert finding["path"] == str(bad_only)
    assert finding["what"].startswith(f"the category steel has {NO_NORMAL}")
    assert "add normal images of the same product" in finding["what"]


def test_a_check_stands_though_another_source_can_be_used(
    cli: Cli, bad_only: Path, tmp_path: Path
) -> None:
    """A template is of the same source and category, so no other source helps."""
    line = write_set(tmp_path / "line")
    code, out, _ = cli("curate", line, bad_only, "--check")
    assert code == 5
    assert out.count("wrong      nothing") == 1
    code, out, _ = cli("curate", line, bad_only, "--out", tmp_path / "set")
    assert code == 0
    assert "mine: no template  2" in out


def test_a_check_takes_a_data_set_that_names_its_templates(cli: Cli, tmp_path: Path) -> None:
    for name, value in (("golden/g.png", 90), ("bad/hole/a.png", 20), ("bad/hole/b.png", 40)):
        path = tmp_path / "line" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 20), value).save(path)
    code, out, _ = cli("curate", tmp_path / "line", "--check")
    assert (code, "wrong      nothing" in out) == (0, True)


def test_a_check_passes_over_what_a_curation_excludes(
    cli: Cli, bad_only: Path, tmp_path: Path
) -> None:
    classes = tmp_path / "classes.txt"
    classes.write_text("steel/Steel\n")
    words = ("curate", bad_only, "--check", "--exclude-classes")
    code, out, _ = cli(*words, classes)
    assert (code, "wrong      nothing" in out) == (0, True)
    assert "2 images of classes that are evaluated on" in out
    code, out, _ = cli(*words, classes, "--json")
    (source,) = json.loads(out)["sources"]
    assert (source["images"], source["excluded"], source["findings"]) == (0, 2, [])
    code, _, err = cli(*words, tmp_path / "none.txt")
    assert code == 2
    assert "there is no such file" in err


def test_a_set_without_any_pair_says_why(cli: Cli, bad_only: Path, tmp_path: Path) -> None:
    screws = write_set(tmp_path / "parts", ["screw", "tile"])
    words = ("--exclude-classes", "mmad", "--out", tmp_path / "set")
    code, _, err = cli("curate", bad_only, screws, *words)
    assert code == 5
    assert f"steel/steel: {NO_NORMAL}" in err
    assert "parts: 10 left out, evaluated class (screw, tile)" in err
    assert "--dry-run" in err
    code, _, err = cli("curate", screws, *words[:2], "--out", tmp_path / "other")
    assert code == 5
    assert "parts: 10 left out, evaluated class (screw, tile)" in err


def test_a_dry_run_counts_no_dialogue_about_what_is_useless(cli: Cli, bad_only: Path) -> None:
    code, out, _ = cli("curate", bad_only, "--dry-run")
    assert code == 0
    assert f"useless    steel/steel: {NO_NORMAL}" in out
    assert "dialogues  none" in out


def test_pairs_that_are_lost_later_are_told_by_reason(tmp_path: Path) -> None:
    """Copies are no templates of each other, which only their pixels tell."""
    root = tmp_path / "line"
    for name in ("0", "1"):
        path = root / "lid" / "train" / "good" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 20), 90).save(path)
    with pytest.raises(DatasetError, match=r"none is left: line: 2 left out, no template \(has no"):
        curate(root, tmp_path / "set")


def _image(name: str, *labels: str, template: str | None = None) -> SourceImage:
    return SourceImage(
        path=Path(name),
        source="line",
        category=name[0],
        split="train",
        defects=tuple(SourceDefect(label=label) for label in labels),
        template=None if template is None else Path(template),
    )


def test_lone_are_categories_whose_images_have_no_other_normal_one() -> None:
    images = [
        *(_image("a0"), _image("a1", "dent")),  # the defective one can be compared
        *(_image("b0", "dent"), _image("b1", "dent", template="g"), _image("b2", "dent")),
        _image("c0"),
        *(_image("d0", template="g"), _image("d1", "dent")),  # any normal one will do
        *(_image("e0"), _image("e1")),
    ]
    assert lone_categories(images) == [
        LoneCategory(source="line", category="b", normal=0, defective=2),
        LoneCategory(source="line", category="c", normal=1, defective=0),
    ]
    assert [one.words for one in lone_categories(images)] == [
        NO_NORMAL,
        "1 normal image and no other one to compare it with",
    ]
