"""Boxes of a picture of another size than the one that is there: the defects stay, unplaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adcopilot_edge.training.chat_ad.readers import find_reader
from adcopilot_edge.training.chat_ad.source import Survey

SIZE = (400, 300)
SIDES = ("width", "height")


def survey(root: Path) -> Survey:
    Image.new("L", SIZE).save(root / "a.png")
    return find_reader(root).survey(root, source="set")


def write_coco(root: Path, **size: Any) -> Survey:
    record = {
        "images": [{"id": 1, "file_name": "a.png", **size}],
        "categories": [{"id": 1, "name": "dent"}, {"id": 2, "name": "pit"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [300, 220, 80, 60]},
            {
                "image_id": 1,
                "category_id": 2,
                "segmentation": [[300, 220, 380, 220, 380, 280]],
            },
            {"image_id": 1, "category_id": 1, "bbox": [700, 20, 80, 60]},
        ],
    }
    (root / "train.json").write_text(json.dumps(record))
    return survey(root)


def write_voc(root: Path, width: object, height: object) -> Survey:
    (root / "Annotations").mkdir()
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    corners = "<xmin>300</xmin><ymin>220</ymin><xmax>380</xmax><ymax>280</ymax>"
    part = f"<object><name>dent</name><bndbox>{corners}</bndbox></object>"
    (root / "Annotations" / "a.xml").write_text(f"<annotation>{size}{part}</annotation>")
    return survey(root)


def test_boxes_of_coco_for_another_size_are_not_used(tmp_path: Path) -> None:
    held = write_coco(tmp_path, width=800, height=600)
    (image,) = held.images
    assert [(one.label, one.is_placed) for one in image.defects] == [
        ("dent", False),
        ("pit", False),
        ("dent", False),
    ]
    (finding,) = held.findings
    assert finding.path == tmp_path / "train.json"
    assert finding.what == (
        "image a.png is said to have 800x600 pixels, but has 400x300, so its defects are kept "
        "without their places; check that picture and annotations belong together"
    )


def test_boxes_of_voc_for_another_size_are_not_used(tmp_path: Path) -> None:
    held = write_voc(tmp_path, 800, 600)
    (image,) = held.images
    assert [(one.label, one.is_placed) for one in image.defects] == [("dent", False)]
    (finding,) = held.findings
    assert finding.path == tmp_path / "Annotations" / "a.xml"
    assert finding.what == (
        "is for 800x600 pixels, but its picture has 400x300, so its defects are kept without "
        "their places; check that they belong together"
    )


@pytest.mark.parametrize(
    "size", [{}, dict.fromkeys(SIDES), dict.fromkeys(SIDES, 0), {SIDES[0]: 400.0, SIDES[1]: 300}]
)
def test_a_size_that_nobody_states_drops_no_place(tmp_path: Path, size: dict[str, Any]) -> None:
    held = write_coco(tmp_path, **size)
    assert [one.is_placed for image in held.images for one in image.defects] == [True, True, False]
    assert [one.what[:14] for one in held.findings] == ["annotations[2]"], "outside"


@pytest.mark.parametrize("side", [0, ""])
def test_voc_writes_0_or_nothing_for_a_size_that_nobody_knows(tmp_path: Path, side: object) -> None:
    held = write_voc(tmp_path, side, side)
    assert [one.is_placed for image in held.images for one in image.defects] == [True]
    assert held.findings == ()
