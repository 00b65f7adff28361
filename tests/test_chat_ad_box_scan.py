"""What the readers of Chat-AD share: places held to a picture, sizes, names of YOLO's classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.runtime.images import open_raster
from adcopilot_edge.training.chat_ad.box_scan import BoxScan
from adcopilot_edge.training.chat_ad.files import find_pictures, read_size
from adcopilot_edge.training.chat_ad.plain import PlainReader
from adcopilot_edge.training.chat_ad.yolo_names import read_names


def test_a_size_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (40, 20)).save(tmp_path / "upright.jpg")
    assert read_size(tmp_path / "turned.jpg") == (20, 40)
    assert read_size(tmp_path / "upright.jpg") == (40, 20)
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.tif", exif=exif)
    assert read_size(tmp_path / "turned.tif") == open_raster(tmp_path / "turned.tif").size


def test_pictures_are_found_at_any_depth_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.PNG", "a/c.jpg", "a/._c.jpg", "__MACOSX/d.jpg", ".e/f.jpg", "g.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_pictures(tmp_path) == [tmp_path / "a" / "c.jpg", tmp_path / "b.PNG"]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_a_file_that_is_no_picture_has_no_size(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DatasetError, match="can't be read as a picture"):
        read_size(tmp_path / "a.png")


def test_a_survey_measures_each_picture_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def count(path: Path) -> tuple[int, int]:
        measured.append(path.name)
        return read_size(path)

    monkeypatch.setattr("adcopilot_edge.training.chat_ad.box_scan.read_size", count)
    for name in ("golden/0.png", "good/1.png", "bad/2.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name)
    reader = PlainReader()
    held = reader.survey(tmp_path, source="set")
    assert sorted(measured) == ["0.png", "1.png", "2.png"]
    assert list(held.images) == reader.read(tmp_path, source="set")
    assert held.findings == ()


def test_half_a_pixel_outside_is_rounding_and_more_is_told(tmp_path: Path) -> None:
    scan = BoxScan(tmp_path, advice="")
    assert scan.place((-0.4, 0, 100.4, 80), (100, 80), tmp_path, "line 1") == (0, 0, 100, 80)
    assert scan.findings == []
    assert scan.place((-0.6, 0, 10, 10), (100, 80), tmp_path, "line 1") == (0, 0, 10, 10)
    assert scan.place((101, 0, 120, 10), (100, 80), tmp_path, "line 2") is None
    assert [one.what.split(":")[0] for one in scan.findings] == ["line 1", "line 2"]


def test_a_ring_is_clipped_and_needs_an_area(tmp_path: Path) -> None:
    scan = BoxScan(tmp_path, advice="")
    ring = [(-5.0, 0.0), (50.0, 0.0), (50.0, 40.0)]
    clipped = scan.place_ring(ring, (100, 80), tmp_path, "line 1")
    assert clipped == ((0, 0), (50, 0), (50, 40))
    line = [(0.0, 0.0), (10.0, 10.0), (20.0, 20.0)]
    assert scan.place_ring(line, (100, 80), tmp_path, "line 2") is None
    assert ["is not inside" in scan.findings[0].what, "no area" in scan.findings[1].what] == [
        True
    ] * 2


@pytest.mark.parametrize(
    "names",
    [
        "names: [a b, \"c, d\", 'it''s']",
        "nc: 3\nnames: [a b,\n  \"c, d\",\n  'it''s']\n",
        "names:\n- a b\n- \"c, d\"  # a comment\n- 'it''s'\nother:\n- x\n",
        "names:\n  0: a b\n  1: 'c, d'\n  2: it's\nnc: 3\n",
        "names: {0: a b, 1: 'c, d', 2: it's}",
    ],
)
def test_names_are_read_in_every_form(tmp_path: Path, names: str) -> None:
    (tmp_path / "set.yaml").write_text(names)
    assert read_names(tmp_path, []) == {0: "a b", 1: "c, d", 2: "it's"}


def test_names_may_be_lines_of_a_text_file_beside_the_labels(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "classes.txt").write_text("dent\nscratch\n")
    assert read_names(tmp_path, [tmp_path / "labels"]) == {0: "dent", 1: "scratch"}


@pytest.mark.parametrize(
    "text",
    ["names: file.txt", "names: [a", "names:\nnc: 2", "names: {a, b}", "names: []", "names:"],
)
def test_names_of_another_form_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DatasetError, match=r"data\.yaml: can't read names"):
        read_names(tmp_path, [])


def test_a_folder_without_names_says_how_to_add_them(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("nc: 2")
    with pytest.raises(DatasetError, match=r"does not name its classes; add data\.yaml"):
        read_names(tmp_path, [])
