"""What is evaluated on stays out: classes by name, images by pixels and looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from curation import curate, draw_part, fingerprint, plan_for, write_set
from PIL import Image

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.training.chat_ad.leakage import (
    MMAD_CLASSES,
    EvaluationImages,
    normalise,
    read_classes,
)
from adcopilot_edge.training.chat_ad.source import SourceImage


def image(category: str, source: str = "line") -> SourceImage:
    return SourceImage(path=Path("a.png"), source=source, category=category, split="train")


def test_mmad_asks_about_38_classes_of_four_data_sets() -> None:
    sizes = {name: len(classes) for name, classes in MMAD_CLASSES.items()}
    assert sizes == {"MVTec AD": 15, "MVTec LOCO": 5, "VisA": 12, "GoodsAD": 6}
    names = {normalise(one) for classes in MMAD_CLASSES.values() for one in classes}
    assert len(names) == 38


@pytest.mark.parametrize("category", ["screw", "Metal Nut", "metal_nut", "METAL-NUT", "pcb1"])
def test_classes_are_found_however_they_are_written(category: str) -> None:
    assert image(category) in read_classes("mmad")


@pytest.mark.parametrize("category", ["screws", "pcb", "pcb11", "nut"])
def test_other_classes_are_not(category: str) -> None:
    assert image(category) not in read_classes("mmad")


def test_a_file_names_classes_of_every_source_or_of_one(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("# ours\nlid  # the old one\n\nnew-line/cup\n")
    classes = read_classes(str(path))
    assert image("Lid") in classes
    assert image("cup", "New Line") in classes
    assert image("cup", "old-line") not in classes


@pytest.mark.parametrize(("text", "says"), [(None, "no such file"), ("# none\n", "names no class")])
def test_a_file_that_names_nothing_is_an_error(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "classes.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_classes(str(path))


def test_images_are_found_by_pixels_before_looks() -> None:
    evaluated = EvaluationImages()
    paths = [Path("near.png"), Path("same.png")]
    evaluated.add(paths, [fingerprint(0b1), fingerprint(0b1111, "same")])
    assert evaluated.find(fingerprint(0b1, "same")) == (Path("same.png"), 0)
    assert evaluated.find(fingerprint(0b111)) == (Path("same.png"), 1)
    assert evaluated.find(fingerprint(0b0)) == (Path("near.png"), 1)
    assert evaluated.find(fingerprint(2**256 - 1)) is None
    assert len(evaluated) == 2


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    """A folder with a copy of a part of ``line`` that was cut short, and one of nothing there."""
    folder = tmp_path / "evaluated"
    folder.mkdir()
    Image.fromarray(draw_part(999)).save(folder / "other.png")
    Image.fromarray(draw_part(1)).save(folder / "part.jpg")
    (folder / "part.jpg").write_bytes((folder / "part.jpg").read_bytes()[:-100])
    return folder


def test_an_evaluated_picture_that_can_not_be_read_is_an_error_until_it_is_put_right(
    tmp_path: Path, evaluated: Path
) -> None:
    source = write_set(tmp_path / "line", ["lid"])
    with pytest.raises(DatasetError, match=r"1 of the pictures in .*part\.jpg: can't be"):
        curate(source, tmp_path / "set", exclude_images=(evaluated,))
    (evaluated / "part.jpg").unlink()
    Image.fromarray(draw_part(1)).save(evaluated / "part.png")
    made = curate(source, tmp_path / "set", exclude_images=(evaluated,))
    assert made.is_resumed
    assert made.left_out == {("exclude", "evaluated image"): 1}


def test_a_folder_without_evaluated_pictures_is_an_error(tmp_path: Path) -> None:
    source = write_set(tmp_path / "line", ["lid"])
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "notes.txt").touch()
    with pytest.raises(DatasetError, match="none holds no picture, so nothing can be compared"):
        plan_for(source, exclude_images=(tmp_path / "none",))


def test_evaluated_pictures_are_found_from_any_folder(
    tmp_path: Path, evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_set(tmp_path / "line", ["lid"])
    monkeypatch.chdir(tmp_path)
    plan = plan_for(source, exclude_images=(Path("evaluated"),))
    assert plan.evaluated() == [evaluated / "other.png", evaluated / "part.jpg"]
