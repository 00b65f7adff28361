"""Masks, polygons and boxes as the place of a defect; the rules for specks and close regions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.training.chat_ad.merging import merge_close, merged_boxes
from adcopilot_edge.training.chat_ad.outline import Outline, fill_ring, find_outline
from adcopilot_edge.training.chat_ad.source import Finding, SourceDefect
from adcopilot_edge.types import BBox, MaskArray

SIZE = (400, 300)  # the diagonal is 500 pixels


def mask_of(*boxes: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> MaskArray:
    mask = np.zeros(size[::-1], dtype=np.bool_)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = True
    return mask


def save(path: Path, mask: MaskArray, value: int = 255) -> Path:
    Image.fromarray((mask * value).astype(np.uint8)).save(path)
    return path


def find(size: tuple[int, int] = SIZE, **place: Any) -> tuple[Outline | None, list[Finding]]:
    told: list[Finding] = []
    defect = SourceDefect(label="dent", **place)
    outline = find_outline(defect, picture=Path("part.png"), size=size, tell=told.append)
    return outline, told


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        # A gap of 2.5 pixels is D/200.
        ([(10, 10, 12, 12), (14, 10, 16, 12)], [(10, 10, 16, 12)]),
        ([(10, 10, 12, 12), (15, 10, 17, 12)], [(10, 10, 12, 12), (15, 10, 17, 12)]),
        # A quarter of the smaller one's longer side.
        ([(10, 10, 50, 12), (60, 10, 100, 12)], [(10, 10, 100, 12)]),
        ([(10, 10, 50, 12), (61, 10, 101, 12)], [(10, 10, 50, 12), (61, 10, 101, 12)]),
        ([(10, 10, 50, 12), (60, 10, 62, 12)], [(10, 10, 50, 12), (60, 10, 62, 12)]),
        # Never more than 3 % of D, 15 pixels.
        ([(0, 10, 100, 20), (115, 10, 215, 20)], [(0, 10, 215, 20)]),
        ([(0, 10, 100, 20), (116, 10, 216, 20)], [(0, 10, 100, 20), (116, 10, 216, 20)]),
        # One inside the other, and one that only the joined box touches.
        ([(0, 0, 90, 90), (40, 40, 50, 50)], [(0, 0, 90, 90)]),
        ([(0, 0, 4, 60), (5, 59, 60, 62), (30, 30, 33, 33)], [(0, 0, 60, 62)]),
        # In reading order.
        ([(200, 50, 210, 60), (10, 50, 20, 60), (90, 5, 99, 9)], None),
        ([], []),
    ],
)
def test_boxes_that_are_close_are_one(boxes: list[BBox], expected: list[BBox] | None) -> None:
    if expected is None:
        expected = [boxes[2], boxes[1], boxes[0]]
    assert merge_close(boxes, diagonal=500) == expected


def test_a_chain_is_one_box() -> None:
    chain = [(float(5 * n), 7.0, float(5 * n + 3), 9.0) for n in range(40)]
    assert merge_close(chain[::-1], diagonal=500) == [(0, 7, 198, 9)]


def test_specks_are_dropped_and_small_holes_stay() -> None:
    size = (1000, 1000)  # less than 10 pixels may be a speck
    dirt = (900, 900, 903, 903)
    assert merged_boxes(mask_of((100, 100, 200, 200), dirt, size=size)) == [(100, 100, 200, 200)]
    holes = mask_of(dirt, (100, 100, 103, 103), (500, 100, 504, 103), size=size)
    assert len(merged_boxes(holes)) == 3
    assert merged_boxes(mask_of((3, 3, 4, 4), size=size)) == [(3, 3, 4, 4)]


def test_a_mask_of_noise_is_looked_at_in_cells() -> None:
    mask = np.zeros((300, 400), dtype=np.bool_)
    mask[100:200:2, 40:141:2] = True
    assert len(mask[mask]) > 1000
    assert merged_boxes(mask) == [(39, 99, 141, 201)]


def test_a_mask_gives_boxes_and_pixels(tmp_path: Path) -> None:
    mask = mask_of((300, 200, 340, 220), (20, 30, 30, 60))
    outline, told = find(mask=save(tmp_path / "m.png", mask))
    assert outline is not None
    assert not told
    assert outline.boxes == ((20, 30, 30, 60), (300, 200, 340, 220))
    assert (outline.left, outline.top, outline.mask.shape) == (20, 30, (190, 320))
    assert outline.area == mask.sum()
    assert outline.is_exact


def test_the_smear_of_a_lossy_mask_is_no_defect(tmp_path: Path) -> None:
    Image.fromarray((mask_of((41, 33, 92, 70)) * 255).astype(np.uint8)).save(tmp_path / "m.jpg")
    assert len(np.unique(np.asarray(Image.open(tmp_path / "m.jpg")))) > 2
    outline, _ = find(mask=tmp_path / "m.jpg")
    assert outline is not None
    assert outline.boxes == ((41, 33, 92, 70),)


def test_only_the_values_of_the_defect_count(tmp_path: Path) -> None:
    pixels = mask_of((10, 10, 20, 20)) * np.uint8(7) + mask_of((200, 10, 220, 20)) * np.uint8(9)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "m.png")
    both, _ = find(mask=tmp_path / "m.png")
    one, _ = find(mask=tmp_path / "m.png", mask_values=(9,))
    none, told = find(mask=tmp_path / "m.png", mask_values=(8,))
    assert both is not None
    assert one is not None
    assert both.boxes == ((10, 10, 20, 20), (200, 10, 220, 20))
    assert one.boxes == ((200, 10, 220, 20),)
    assert none is None
    assert "black" in told[0].what


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "missing or damaged"), (b"none", "damaged"), ((40, 30), "40x30.*400x300.*scale it")],
)
def test_a_mask_that_can_not_be_used_is_told(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "m.png"
    if isinstance(content, tuple):
        save(path, mask_of((1, 1, 3, 3), size=content))
    elif content is not None:
        path.write_bytes(content)
    outline, (finding,) = find(mask=path)
    assert outline is None
    assert finding.path == path
    assert re.search(words, finding.what)
    outline, _ = find(mask=path, boxes=((1.0, 2.0, 3.0, 4.0),))
    assert outline is not None, "the box is still known"


def test_a_mask_is_turned_as_its_orientation_says(tmp_path: Path) -> None:
    image = Image.fromarray(mask_of((10, 20, 40, 60)))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees to the right
    image.convert("L").save(tmp_path / "m.png", exif=exif)
    outline, told = find(size=(300, 400), mask=tmp_path / "m.png")
    assert not told
    assert outline is not None
    assert outline.boxes == ((240, 10, 280, 40),)


def test_sixteen_bits_are_values_too(tmp_path: Path) -> None:
    Image.fromarray(mask_of((1, 2, 3, 4)) * np.uint16(1000)).save(tmp_path / "m.png")
    outline, _ = find(mask=tmp_path / "m.png", mask_values=(1000,))
    assert outline is not None
    assert outline.boxes == ((1, 2, 3, 4),)


@pytest.mark.parametrize(
    ("ring", "rows"),
    [
        ([(1, 1), (4, 1), (4, 3), (1, 3)], ["....", ".###", ".###", "...."]),
        ([(1, 3), (4, 3), (4, 1), (1, 1)], ["....", ".###", ".###", "...."]),
        ([(0, 0), (4, 0), (0, 4)], ["###.", "##..", "#...", "...."]),
        ([(-3, -3), (9, -3), (9, 9), (-3, 9)], ["####"] * 4),
        ([(1.2, 1.2), (1.4, 1.2), (1.4, 1.4)], ["...."] * 4),
    ],
)
def test_a_ring_is_filled_by_the_centres_of_pixels(
    ring: list[tuple[float, float]], rows: list[str]
) -> None:
    assert ["".join(".#"[int(one)] for one in row) for row in fill_ring(ring, (4, 4))] == rows


def test_polygons_keep_their_exact_boxes() -> None:
    far = ((100.5, 50.0), (120.0, 50.0), (120.0, 60.25))
    thin = ((10.1, 10.1), (10.3, 10.1), (10.3, 10.2))
    outline, told = find(polygons=(far, thin))
    assert not told
    assert outline is not None
    assert outline.boxes == ((10.1, 10.1, 10.3, 10.2), (100.5, 50.0, 120.0, 60.25))
    assert outline.is_exact
    assert outline.area == 1 + fill_ring(far, SIZE).sum()


def test_boxes_are_clipped_and_not_joined() -> None:
    boxes: tuple[BBox, ...] = ((390.0, 290.0, 420.0, 300.0), (1.0, 1.0, 5.0, 5.0), (2, 2, 4, 4))
    outline, told = find(boxes=boxes)
    assert not told
    assert outline is not None
    assert outline.boxes == ((1, 1, 5, 5), (2, 2, 4, 4), (390, 290, 400, 300))
    assert not outline.is_exact
    assert outline.area == 16 + 100
    outline, told = find(boxes=((400.0, 0.0, 410.0, 9.0),))
    assert outline is None
    assert "outside" in told[0].what


def test_a_defect_somewhere_has_no_outline() -> None:
    assert find() == (None, [])
