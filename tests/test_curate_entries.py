"""Pictures that a data set names several times, and templates that can't be used, lose nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from curation import curate, draw_part, plan_for, write_set
from PIL import Image

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.readers import find_reader
from adcopilot_edge.training.chat_ad.source import SourceImage, Survey

Cli = Callable[..., tuple[int, str, str]]
SCRATCH = {"test": "7.png", "label": "scratch", "boxes": [[2, 2, 8, 8]]}
DENT = {"test": "7.png", "label": "dent", "boxes": [[30, 20, 40, 30]]}
GOOD = {"test": "9.png"}


def write_list(root: Path, *lines: dict[str, Any]) -> Path:
    """Pictures golden, other, 7 and 9, and a list of pairs with the first as template."""
    root.mkdir(exist_ok=True)
    for number, name in enumerate(("golden", "other", "7", "9")):
        Image.fromarray(draw_part(number)).save(root / f"{name}.png")
    text = "\n".join(json.dumps({"golden": "golden.png", **line}) for line in lines)
    (root / "pairs.jsonl").write_text(text)
    return root


def survey(root: Path) -> Survey:
    return find_reader(root).survey(root, source="line")


def truth(image: SourceImage) -> list[tuple[str, tuple[tuple[float, ...], ...]]]:
    return [(defect.label, defect.boxes) for defect in image.defects]


def test_lines_about_one_part_are_one_part_with_all_defects(cli: Cli, tmp_path: Path) -> None:
    root = write_list(tmp_path / "line", SCRATCH, DENT, GOOD, SCRATCH, GOOD)
    held = survey(root)
    assert held.findings == ()
    assert [image.path.name for image in held.images] == ["7.png", "9.png"]
    assert truth(held.images[0]) == [("scratch", ((2, 2, 8, 8),)), ("dent", ((30, 20, 40, 30),))]
    assert find_reader(root).read(root, source="line") == list(held.images)
    code, out, _ = cli("curate", root, "--check")
    assert (code, "1 normal, 1 defective" in out) == (0, True)
    made = curate(root, tmp_path / "set")
    assert (made.counts.pairs, dict(made.counts.labels)) == (2, {"scratch": 1, "dent": 1})
    assert made.left_out == {}


def test_defects_of_one_line_are_all_kept(tmp_path: Path) -> None:
    twice = {"test": "7.png", "label": ["dent", "dent"], "boxes": [[2, 2, 8, 8]] * 2}
    (image,) = survey(write_list(tmp_path / "line", twice)).images
    assert len(image.defects) == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"test": "7.png"}, "is normal in one entry and defective in another, so it is left out"),
        ({**DENT, "category": "cup"}, "of the category line in one entry, of cup in another"),
    ],
)
def test_entries_that_contradict_each_other_leave_the_picture_out(
    tmp_path: Path, line: dict[str, Any], says: str
) -> None:
    root = write_list(tmp_path / "line", SCRATCH, line, GOOD)
    held = survey(root)
    assert [image.path.name for image in held.images] == ["9.png"]
    (finding,) = held.findings
    assert finding.path == root / "7.png"
    assert says in finding.what
    assert curate(root, tmp_path / "set").left_out == {("read", "unusable"): 1}


def test_of_two_templates_the_first_is_taken_and_told(tmp_path: Path) -> None:
    root = write_list(tmp_path / "line", SCRATCH, {**DENT, "golden": "other.png"})
    (image,), (finding,) = (survey(root).images, survey(root).findings)
    assert [label for label, _ in truth(image)] == ["scratch", "dent"]
    assert image.template == root / "golden.png"
    assert f"in others {root / 'other.png'}; the first is taken" in finding.what


def write_coco(root: Path, **labels: str | None) -> Path:
    """A file for each name, all with the picture 7.png, annotated or, with None, not."""
    write_list(root)
    (root / "pairs.jsonl").unlink()
    for number, (name, label) in enumerate(labels.items()):
        box = [10 * number, 2, 6, 6]
        record = {
            "images": [{"id": 1, "file_name": "7.png"}],
            "categories": [{"id": 1, "name": label or "none"}],
            "annotations": [{"image_id": 1, "category_id": 1, "bbox": box}] if label else [],
        }
        (root / f"{name}.json").write_text(json.dumps(record))
    return root


def test_an_image_of_two_files_has_the_defects_of_both(tmp_path: Path) -> None:
    (image,) = survey(write_coco(tmp_path / "line", dents="dent", pits="pit")).images
    assert truth(image) == [("dent", ((0, 2, 6, 8),)), ("pit", ((10, 2, 16, 8),))]


def test_an_image_that_only_one_file_annotates_is_not_normal(tmp_path: Path) -> None:
    held = survey(write_coco(tmp_path / "line", a=None, dents="dent"))
    assert held.images == ()
    assert "normal in one entry" in held.findings[0].what


def cut_short(root: Path) -> Path:
    """A template whose header is whole, which is all that a reader opens."""
    golden = root / "golden.jpg"
    Image.fromarray(draw_part(0)).save(golden)
    golden.write_bytes(golden.read_bytes()[:-100])
    return golden


def test_a_named_template_that_is_not_used_is_in_what_was_left_out(tmp_path: Path) -> None:
    named = {"golden": "golden.jpg"}
    cut_short(tmp_path)
    lines = ({**SCRATCH, **named}, {**GOOD, **named}, {"test": "other.png"})
    root = write_list(tmp_path, *lines)
    made = curate(root, tmp_path / "set")
    assert made.counts.pairs == 3
    assert made.left_out == {("mine", "unreadable"): 1, ("mine", "template not used"): 2}
    found = map(json.loads, (made.folder / "left_out.jsonl").read_text().splitlines())
    told = {Path(one["what"]).name: one["detail"] for one in found}
    assert "can't be decoded" in told["golden.jpg"]
    assert told["7.png"] == f"its template {root / 'golden.jpg'} can't be read; another is taken"


def test_an_image_without_any_template_is_counted_once(tmp_path: Path) -> None:
    cut_short(tmp_path)
    root = write_list(tmp_path, *({**line, "golden": "golden.jpg"} for line in (SCRATCH, GOOD)))
    assert curate(root, tmp_path / "set").left_out == {
        ("mine", "unreadable"): 1,
        ("mine", "template not used"): 2,
        ("mine", "no template"): 1,
    }


def misname(folder: Path, name: str) -> None:
    """Give a picture the name caf?.png in Latin 1."""
    (folder / name).rename(folder / os.fsdecode(b"caf\xe9.png"))


def test_a_name_that_is_not_utf8_is_told_and_left_out(cli: Cli, tmp_path: Path) -> None:
    root = write_set(tmp_path / "line", ["lid"])
    misname(root / "lid" / "train" / "good", "0.png")
    code, out, _ = cli("curate", root, "--check")
    assert code == 5
    assert "good/caf\\udce9.png: has a name that is not UTF-8, so it is left out; rename it" in out
    made = curate(root, tmp_path / "set")
    assert (made.counts.pairs, made.left_out) == (4, {("read", "unusable"): 1})
    with pytest.raises(DatasetError, match="is not UTF-8; rename it"):
        plan_for(root, exclude_images=(root,))


def test_a_plain_folder_with_such_a_name_is_refused(cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / "line"
    for seed, name in enumerate(("golden/g.png", "good/0.png", "bad/1.png")):
        (root / name).parent.mkdir(parents=True)
        Image.fromarray(draw_part(seed)).save(root / name)
    misname(root / "bad", "1.png")
    code, out, _ = cli("curate", root, "--check")
    assert code == 5
    assert "names that are not UTF-8: bad/caf\\udce9.png; rename" in out
    code, _, err = cli("curate", root, "--out", tmp_path / "set")
    assert (code, "bad/caf\\udce9.png" in err) == (5, True)
