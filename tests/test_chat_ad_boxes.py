"""The readers of layouts with boxes and of folders, each on a tiny data set, whole and broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.readers import READERS, find_reader
from adcopilot_edge.training.chat_ad.source import Finding, SourceImage

OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def picture(path: Path, width: int = 100, height: int = 80) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (width, height), 90).save(path)
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def voc(*objects: tuple[object, ...]) -> str:
    return f"<annotation>{''.join(OBJECT.format(*one) for one in objects)}</annotation>"


def read(root: Path, layout: str) -> list[SourceImage]:
    reader = find_reader(root)
    assert reader.name == layout
    return list(reader.read(root, source="set"))


def check(root: Path) -> list[Finding]:
    return list(find_reader(root).survey(root, source="set").findings)


def told(root: Path) -> list[tuple[str, str]]:
    return [(one.path.relative_to(root).as_posix(), one.what) for one in check(root)]


def write_voc(root: Path) -> None:
    picture(root / "IMAGES" / "b.jpg")
    picture(root / "IMAGES" / "a.jpg")
    write(root / "ANNOTATIONS" / "a.xml", voc(("crazing", 1, 1, 100, 80), ("pit", 11, 21, 30, 40)))
    write(root / "ANNOTATIONS" / "b.xml", voc())


def write_yolo(root: Path) -> None:
    write(root / "data.yaml", "path: .\nnames: [scratch, 'mouse bite']  # two\nnc: 2\n")
    for name in ("a", "b", "c"):
        picture(root / "images" / "train" / f"{name}.png")
    write(root / "labels" / "train" / "a.txt", "1 0.5 0.5 0.2 0.5\n\n0 0 0 0.5 0 0.5 0.5\n")
    write(root / "labels" / "train" / "b.txt", "")


def coco(**changes: Any) -> dict[str, Any]:
    record = {
        "images": [
            {"id": 7, "file_name": "b.png", "width": 100, "height": 80},
            {"id": 3, "file_name": "a.png"},
        ],
        "categories": [{"id": 1, "name": "dent"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 40]},
            {
                "image_id": 7,
                "category_id": 1,
                "bbox": [0, 0, 10, 10],
                "segmentation": [[0, 0, 10, 0, 10, 10]],
            },
        ],
    }
    return {**record, **changes}


def write_coco(root: Path, **changes: Any) -> None:
    picture(root / "val" / "a.png")
    picture(root / "val" / "b.png")
    write(root / "annotations" / "instances_val.json", json.dumps(coco(**changes)))


def write_deeppcb(root: Path) -> None:
    write(root / "boards.json", json.dumps({"2": "east", "1": "west"}))
    for pair_id in ("1", "2"):
        for end in ("temp", "test"):
            picture(root / "pairs" / f"{pair_id}_{end}.png", 640, 640)
        write(root / "pairs" / f"{pair_id}.txt", "10 20 30 40 6\n50 60 70 80 1\n")


def write_plain(root: Path) -> None:
    for name in ("golden/g", "good/1", "bad/2", "bad/dent/3"):
        picture(root / f"{name}.png")


WRITERS: dict[str, Callable[[Path], None]] = {
    "voc": write_voc,
    "yolo": write_yolo,
    "coco": write_coco,
    "deeppcb": write_deeppcb,
    "plain": write_plain,
}


@pytest.mark.parametrize("layout", sorted(WRITERS))
def test_a_whole_folder_is_recognised_read_alike_and_has_no_finding(
    tmp_path: Path, layout: str
) -> None:
    WRITERS[layout](tmp_path)
    assert [reader.name for reader in READERS if reader.matches(tmp_path)] == [layout]
    images = read(tmp_path, layout)
    assert images == read(tmp_path, layout)
    assert {image.source for image in images} == {"set"}
    assert {image.is_normal for image in images} >= {False}
    assert told(tmp_path) == []


@pytest.mark.parametrize("layout", sorted(WRITERS))
def test_a_picture_that_is_none_is_told_and_left_out(tmp_path: Path, layout: str) -> None:
    WRITERS[layout](tmp_path)
    victim = read(tmp_path, layout)[0].path
    victim.write_bytes(b"no picture")
    assert victim not in {image.path for image in read(tmp_path, layout)}
    assert [(one.path, "can't be read as a picture" in one.what) for one in check(tmp_path)] == [
        (victim, True)
    ]


@pytest.mark.parametrize("layout", sorted(WRITERS))
def test_an_empty_folder_is_an_error_that_says_what_is_missing(tmp_path: Path, layout: str) -> None:
    reader = find_reader(tmp_path, layout)
    with pytest.raises(DatasetError, match=str(tmp_path)):
        list(reader.read(tmp_path, source="set"))
    assert len(list(reader.survey(tmp_path, source="set").findings)) == 1


def test_no_layout_lists_the_known_ones(tmp_path: Path) -> None:
    for name, root in ((None, tmp_path), ("pascal", tmp_path)):
        with pytest.raises(DatasetError, match=r"known.*deeppcb.* plain.* coco.* voc.* yolo"):
            find_reader(root, name)
    with pytest.raises(DatasetError, match="there is no folder"):
        find_reader(tmp_path / "missing")


def test_voc_counts_from_one_and_includes_the_last_pixel(tmp_path: Path) -> None:
    write_voc(tmp_path)
    a, b = read(tmp_path, "voc")
    assert [(one.label, one.boxes) for one in a.defects] == [
        ("crazing", ((0, 0, 100, 80),)),
        ("pit", ((10, 20, 30, 40),)),
    ]
    assert (b.path.name, b.is_normal, b.split) == ("b.jpg", True, "train")


def test_voc_reads_splits_and_numbered_folders(tmp_path: Path) -> None:
    neu, gc10 = tmp_path / "neu", tmp_path / "gc10"
    for split, kind in (("train", "pit"), ("validation", "crack")):
        picture(neu / split / "images" / kind / f"{kind}_1.jpg")
        write(neu / split / "annotations" / f"{kind}_1.xml", voc((kind, 1, 1, 5, 5)))
    assert [(one.split, one.path.stem) for one in read(neu, "voc")] == [
        ("train", "pit_1"),
        ("validation", "crack_1"),
    ]
    for number in (1, 10):
        picture(gc10 / str(number) / f"img_{number}.jpg")
        write(gc10 / "lable" / f"img_{number}.xml", voc((f"{number}_kind", 2, 2, 5, 5)))
    assert [one.defects[0].label for one in read(gc10, "voc")] == ["1_kind", "10_kind"]
    assert told(neu) == told(gc10) == []


def test_voc_takes_the_first_of_two_pictures_of_a_name_and_says_so(tmp_path: Path) -> None:
    for kind in ("2", "1"):
        picture(tmp_path / kind / "a.jpg")
    write(tmp_path / "lable" / "a.xml", voc(("pit", 1, 1, 5, 5)))
    assert [one.path for one in read(tmp_path, "voc")] == [tmp_path / "1" / "a.jpg"]
    ((path, what),) = told(tmp_path)
    assert path == "1/a.jpg"
    assert f"the same name as {tmp_path / '2' / 'a.jpg'}" in what


def test_voc_tells_all_that_is_wrong(tmp_path: Path) -> None:
    write_voc(tmp_path)
    notes = tmp_path / "ANNOTATIONS"
    picture(tmp_path / "IMAGES" / "lonely.jpg")
    write(notes / "gone.xml", voc())
    broken = (
        ("pit", 0, 1, 5, 5),
        ("pit", 9, 9, 8, 20),
        ("pit", "x", 1, 2, 2),
        ("", 200, 1, 300, 9),
    )
    write(notes / "b.xml", voc(*broken))
    findings = told(tmp_path)
    expected = [
        ("ANNOTATIONS/b.xml", "object 1, pit: the box (-1, 0, 5, 5) is not inside"),
        ("ANNOTATIONS/b.xml", "object 2, pit: the box (8, 8, 8, 20) has no area"),
        ("ANNOTATIONS/b.xml", "object 3 needs xmin, ymin, xmax, ymax as numbers"),
        ("ANNOTATIONS/b.xml", "object 4 has no name"),
        ("ANNOTATIONS/b.xml", "object 4, defect: the box (199, 0, 300, 9) is not inside"),
        ("ANNOTATIONS/gone.xml", "has no picture of its name"),
        ("IMAGES/lonely.jpg", "has no annotation in"),
    ]
    assert [path for path, _ in findings] == [path for path, _ in expected]
    for (_, what), (_, part) in zip(findings, expected, strict=True):
        assert part in what
    _, b = read(tmp_path, "voc")
    assert [one.boxes for one in b.defects] == [((0, 0, 5, 5),), (), (), ()]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "document type"),
        ("<annotation>", "is no XML"),
    ],
)
def test_voc_leaves_out_an_image_whose_annotation_is_unreadable(
    tmp_path: Path, text: str, part: str
) -> None:
    write_voc(tmp_path)
    write(tmp_path / "ANNOTATIONS" / "b.xml", text)
    assert [one.path.name for one in read(tmp_path, "voc")] == ["a.jpg"]
    ((path, what),) = told(tmp_path)
    assert path == "ANNOTATIONS/b.xml"
    assert part in what


def test_yolo_gives_pixels_for_boxes_and_polygons(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    a, b, c = read(tmp_path, "yolo")
    bite, scratch = a.defects
    assert (bite.label, len(bite.boxes)) == ("mouse bite", 1)
    assert bite.boxes[0] == pytest.approx((40, 20, 60, 60))
    assert (scratch.label, scratch.polygons) == ("scratch", (((0, 0), (50, 0), (50, 40)),))
    assert b.is_normal
    assert c.is_normal
    assert a.split == "train"


def test_yolo_tells_all_that_is_wrong(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    lines = (
        "0 0.5 0.5 0.2",
        "9 0.5 0.5 0.2 0.2",
        "0 0.9 0.5 0.4 0.2",
        "0 0.5 0.5 0 0.2",
        "0 1 nan 1 1",
    )
    write(tmp_path / "labels" / "train" / "c.txt", "\n".join(lines))
    write(tmp_path / "labels" / "train" / "gone.txt", "")
    findings = told(tmp_path)
    parts = (
        "line 1: expected 'class cx cy w h'",
        "line 2: class 9 has no name",
        "line 3: the box (70, 32, 110, 48) is not inside",
        "line 4: the box (50, 32, 50, 48) has no area",
        "line 5: expected",
        "has no picture of its name",
    )
    for (_, what), part in zip(findings, parts, strict=True):
        assert part in what
    *_, c = read(tmp_path, "yolo")
    assert [one.label for one in c.defects] == [
        "scratch",
        "class 9",
        "scratch",
        "scratch",
        "scratch",
    ]
    assert [one.is_placed for one in c.defects] == [False, True, True, False, False]


def test_coco_gives_polygons_where_there_are_some_and_boxes_elsewhere(tmp_path: Path) -> None:
    write_coco(tmp_path)
    a, b = read(tmp_path, "coco")
    assert (a.path.name, a.is_normal, a.split) == ("a.png", True, "val")
    (tmp_path / "annotations" / "instances_val.json").rename(tmp_path / "val.json")
    assert read(tmp_path, "coco") == [a, b]
    box, polygon = b.defects
    assert (box.label, box.boxes, box.polygons) == ("dent", ((10, 20, 40, 60),), ())
    assert (polygon.boxes, polygon.polygons) == ((), (((0, 0), (10, 0), (10, 10)),))


def test_coco_tells_all_that_is_wrong(tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "a.png", "width": 100, "height": 80},
        {"id": 2, "file_name": "gone.png"},
        {"id": 3, "file_name": "../a.png"},
        {"id": 1, "file_name": "b.png"},
    ]
    one = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}
    annotations = [
        one | {"segmentation": {"counts": [1], "size": [80, 100]}},
        one | {"segmentation": [[1, 2, 3, 4]]},
        one | {"segmentation": [[0, 0, 5, 5, 9, 9]]},
        one | {"category_id": 8},
        one | {"bbox": [0, 0, 500, 5]},
        one | {"bbox": [0, 0, 0, 5]},
        one | {"bbox": [1, 2]},
        one | {"image_id": 99},
    ]
    write_coco(tmp_path, images=images, annotations=annotations)
    parts = (
        "image ../a.png lies outside",
        "annotations[0]: its mask in run-length code",
        "annotations[1]: a polygon must be",
        "annotations[2]: the polygon has no area",
        "annotations[3]: category 8 has no name",
        "annotations[4]: the box (0, 0, 500, 5) is not inside",
        "annotations[5]: the box (0, 0, 0, 5) has no area",
        "annotations[6]: bbox must be",
        "images[3] needs an id of its own",
        "image gone.png is in none of",
        "annotations[7] belongs to no image",
    )
    findings = told(tmp_path)
    for (path, what), part in zip(findings, parts, strict=True):
        assert path == "annotations/instances_val.json"
        assert part in what
    (a,) = read(tmp_path, "coco")
    assert [len(one.boxes) for one in a.defects] == [1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"bbox": [0, 0, float("nan"), 5]}, "no finite number"),
        ({"bbox": [0, 0, 10**400, 5]}, "bbox must be"),
        ({"bbox": None}, "bbox must be"),
        ({"segmentation": [[0, 0, float("nan"), 5, 5, 5]], "bbox": [0, 0, -1, 5]}, "no finite"),
    ],
)
def test_coco_keeps_a_defect_whose_numbers_are_of_no_use(
    tmp_path: Path, change: dict[str, Any], part: str
) -> None:
    one = {"image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5], **change}
    write_coco(tmp_path, annotations=[one])
    b = read(tmp_path, "coco")[1]
    assert [(defect.label, defect.is_placed) for defect in b.defects] == [("dent", False)]
    assert part in told(tmp_path)[0][1]


def test_coco_refuses_a_file_of_another_form(tmp_path: Path) -> None:
    write_coco(tmp_path, images=[1])
    with pytest.raises(DatasetError, match=r"instances_val\.json must be one JSON object"):
        read(tmp_path, "coco")
    assert len(check(tmp_path)) == 1


def test_deeppcb_takes_the_golden_scan_as_template(tmp_path: Path) -> None:
    write_deeppcb(tmp_path)
    one, two = read(tmp_path, "deeppcb")
    assert (one.category, two.category) == ("west", "east")
    assert one.template == tmp_path / "pairs" / "1_temp.png"
    assert [(defect.label, defect.boxes) for defect in one.defects] == [
        ("pin hole", ((10, 20, 30, 40),)),
        ("open", ((50, 60, 70, 80),)),
    ]


def test_deeppcb_tells_every_line_and_file(tmp_path: Path) -> None:
    write_deeppcb(tmp_path)
    write(tmp_path / "pairs" / "1.txt", "1 2 3\n10 20 30 40 9\n")
    write(tmp_path / "pairs" / "3.txt", "")
    (tmp_path / "pairs" / "2_temp.png").unlink()
    findings = told(tmp_path)
    assert [path for path, _ in findings] == [
        f"pairs/{n}" for n in ("1.txt", "1.txt", "2_temp.png", "3.txt")
    ]
    assert findings[0][1].startswith("line 1: expected")
    assert findings[1][1].startswith("line 2: expected")
    (one,) = read(tmp_path, "deeppcb")
    assert [defect.is_placed for defect in one.defects] == [False, False]


def test_plain_takes_the_folder_in_bad_as_label(tmp_path: Path) -> None:
    write_plain(tmp_path)
    images = read(tmp_path, "plain")
    assert [[defect.label for defect in one.defects] for one in images] == [
        [],
        ["defect"],
        ["dent"],
    ]
    assert {one.template for one in images} == {tmp_path / "golden" / "g.png"}
    assert not any(defect.is_placed for one in images for defect in one.defects)
