"""Readers of layouts with masks: tiny folders on disk, read whole, and broken one way at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.files import grey_values, natural_key, picture_size
from adcopilot_edge.training.chat_ad.kolektor import KolektorReader
from adcopilot_edge.training.chat_ad.loco import LocoReader
from adcopilot_edge.training.chat_ad.magnetic_tile import MagneticTileReader
from adcopilot_edge.training.chat_ad.mvtec import MvtecReader
from adcopilot_edge.training.chat_ad.readers import find_reader
from adcopilot_edge.training.chat_ad.real_iad import RealIadReader
from adcopilot_edge.training.chat_ad.source import Reader, SourceImage
from adcopilot_edge.training.chat_ad.visa import VisaReader

Break = Callable[[Path], object]

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        MvtecReader(),
        LocoReader(),
        VisaReader(),
        RealIadReader(),
        KolektorReader(),
        MagneticTileReader(),
    )
}


def draw(path: Path, value: int = 90, size: tuple[int, int] = (12, 8)) -> None:
    """A grey picture; with ``value`` as a mask, a square of it on black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0]), dtype=np.uint8)
    pixels[2:5, 3:6] = value
    Image.fromarray(pixels).save(path)


def make_mvtec(root: Path) -> None:
    for name in ("train/good/0", "train/good/1", "test/good/0", "test/crack/2", "test/crack/10"):
        draw(root / f"nut/{name}.png")
    draw(root / "nut/ground_truth/crack/2_mask.png", 255)
    draw(root / "nut/ground_truth/crack/10_mask.png", 255)


def make_loco(root: Path) -> None:
    for name in ("train/good/000", "validation/good/000", "test/logical_anomalies/000"):
        draw(root / f"bag/{name}.png")
    draw(root / "bag/test/structural_anomalies/000.png")
    draw(root / "bag/ground_truth/logical_anomalies/000/000.png", 250)
    draw(root / "bag/ground_truth/logical_anomalies/000/001.png", 251)
    draw(root / "bag/ground_truth/structural_anomalies/000/000.png", 250)
    names = [
        {"pixel_value": 250, "defect_name": "no_nut"},
        {"pixel_value": 251, "defect_name": "bent"},
    ]
    (root / "bag/defects_config.json").write_text(json.dumps(names))


def make_visa(root: Path) -> None:
    normal, bad, mask = (
        "pcb1/Data/Images/Normal/0000.JPG",
        "pcb1/Data/Images/Anomaly/000.JPG",
        "pcb1/Data/Masks/Anomaly/000.png",
    )
    draw(root / normal)
    draw(root / bad)
    draw(root / mask, 2)
    (root / "pcb1/image_anno.csv").write_text(
        f'image,label,mask\n{normal},normal,\n{bad},"bent,melt",{mask}\n'
    )
    (root / "split_csv").mkdir()
    (root / "split_csv/1cls.csv").write_text(
        "object,split,label,image,mask\n"
        f"pcb1,train,normal,{normal},\npcb1,test,anomaly,{bad},{mask}\n"
    )


def make_real_iad(root: Path) -> None:
    folder = root / "realiad_1024/toy"
    draw(folder / "OK/a.jpg")
    draw(folder / "NG/HS/b.jpg")
    draw(folder / "NG/HS/b.png", 255)
    entry = {"category": "toy", "anomaly_class": "OK", "image_path": "OK/a.jpg", "mask_path": None}
    bad = {"anomaly_class": "HS", "image_path": "NG/HS/b.jpg", "mask_path": "NG/HS/b.png"}
    content = {
        "meta": {"prefix": "toy/", "normal_class": "OK"},
        "train": [entry],
        "test": [{**entry, **bad}],
    }
    path = root / "realiad_jsons/realiad_jsons/toy.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))


def make_kolektor(root: Path) -> None:
    for folder, values in (("kos02", (0, 255)), ("kos10", (0,))):
        for part, value in enumerate(values):
            draw(root / f"{folder}/Part{part}.jpg")
            draw(root / f"{folder}/Part{part}_label.bmp", value)
    draw(root / "train/10000.png")
    draw(root / "train/10000_GT.png", 255)


def make_tile(root: Path) -> None:
    for kind in ("Free", "Crack"):
        draw(root / f"MT_{kind}/Imgs/exp1.jpg")
        draw(root / f"MT_{kind}/Imgs/exp1.png", 255 if kind == "Crack" else 0)


MAKE = {
    "mvtec": make_mvtec,
    "mvtec-loco": make_loco,
    "visa": make_visa,
    "real-iad": make_real_iad,
    "kolektor": make_kolektor,
    "magnetic-tile": make_tile,
}


def rows(root: Path, images: object) -> list[str]:
    """Each image on a line: path, category, split, and its defects with masks and values."""
    assert isinstance(images, list)
    return [
        f"{_short(root, image.path)} {image.category} {image.split}{_wrong(root, image)}"
        for image in images
    ]


def _wrong(root: Path, image: SourceImage) -> str:
    return "".join(
        f" | {defect.label} {_short(root, defect.mask)} {list(defect.mask_values)}"
        for defect in image.defects
    )


def _short(root: Path, path: Path | None) -> str:
    return "-" if path is None else "/".join(path.relative_to(root).parts[-2:])


EXPECTED = {
    "mvtec": [
        "good/0.png nut train",
        "good/1.png nut train",
        "crack/2.png nut test | crack crack/2_mask.png []",
        "crack/10.png nut test | crack crack/10_mask.png []",
        "good/0.png nut test",
    ],
    "mvtec-loco": [
        "good/000.png bag train",
        "good/000.png bag validation",
        "logical_anomalies/000.png bag test | no_nut 000/000.png [250] | bent 000/001.png [251]",
        "structural_anomalies/000.png bag test | no_nut 000/000.png [250]",
    ],
    "visa": [
        "Normal/0000.JPG pcb1 train",
        "Anomaly/000.JPG pcb1 test | bent,melt Anomaly/000.png []",
    ],
    "real-iad": ["OK/a.jpg toy train", "HS/b.jpg toy test | scratch HS/b.png []"],
    "kolektor": [
        "kos02/Part0.jpg commutator train",
        "kos02/Part1.jpg commutator train | defect kos02/Part1_label.bmp []",
        "kos10/Part0.jpg commutator train",
        "train/10000.png surface train | defect train/10000_GT.png []",
    ],
    "magnetic-tile": [
        "Imgs/exp1.jpg magnetic tile train | Crack Imgs/exp1.png []",
        "Imgs/exp1.jpg magnetic tile train",
    ],
}


@pytest.mark.parametrize("name", READERS)
def test_whole_folder_is_read_and_has_no_fault(name: str, tmp_path: Path) -> None:
    MAKE[name](tmp_path)
    assert rows(tmp_path, READERS[name].read(tmp_path, source="set")) == EXPECTED[name]
    assert {image.source for image in READERS[name].read(tmp_path, source="set")} == {"set"}
    assert list(READERS[name].survey(tmp_path, source="set").findings) == []
    assert [other for other, reader in READERS.items() if reader.matches(tmp_path)] == [name]
    assert find_reader(tmp_path) == READERS[name]


@pytest.mark.parametrize("name", READERS)
def test_folder_of_something_else_is_refused(name: str, tmp_path: Path) -> None:
    draw(tmp_path / "holiday/beach.jpg")
    for root in (tmp_path, tmp_path / "nowhere"):
        assert not READERS[name].matches(root)
        with pytest.raises(DatasetError, match=str(root)):
            READERS[name].read(root, source="set")
        assert len(list(READERS[name].survey(root, source="set").findings)) == 1


@pytest.mark.parametrize(
    ("name", "category"), [("mvtec", "nut"), ("mvtec-loco", "bag"), ("visa", "pcb1")]
)
def test_one_category_reads_as_in_its_folder(name: str, category: str, tmp_path: Path) -> None:
    MAKE[name](tmp_path)
    assert READERS[name].matches(tmp_path / category)
    images = READERS[name].read(tmp_path / category, source="set")
    assert rows(tmp_path, images) == EXPECTED[name]


def test_btad_calls_folders_and_masks_its_own_way(tmp_path: Path) -> None:
    for name in ("train/ok/0000.bmp", "test/ok/0000.bmp", "test/ko/0001.bmp"):
        draw(tmp_path / "01" / name)
    draw(tmp_path / "01/ground_truth/ko/0001.png", 255)
    reader = READERS["mvtec"]
    assert reader.matches(tmp_path)
    assert list(reader.survey(tmp_path, source="set").findings) == []
    assert rows(tmp_path, reader.read(tmp_path, source="btad")) == [
        "ok/0000.bmp 01 train",
        "ko/0001.bmp 01 test | ko ko/0001.png []",
        "ok/0000.bmp 01 test",
    ]


def remove(name: str) -> Break:
    return lambda root: (root / name).unlink()


def redraw(name: str, value: int = 255, size: tuple[int, int] = (12, 8)) -> Break:
    return lambda root: draw(root / name, value, size)


def write(name: str, content: bytes) -> Break:
    return lambda root: (root / name).write_bytes(content)


def change(name: str, old: str, new: str) -> Break:
    def edit(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return edit


ANNO, SPLIT, TOY = (
    "pcb1/image_anno.csv",
    "split_csv/1cls.csv",
    "realiad_jsons/realiad_jsons/toy.json",
)
BAD, MASK = "pcb1/Data/Images/Anomaly/000.JPG", "pcb1/Data/Masks/Anomaly/000.png"
LABEL = "kos02/Part1_label.bmp"
LOGICAL = "bag/ground_truth/logical_anomalies/000"
TILES = "MT_Crack/Imgs/exp1"

# What is done to a whole folder, and the words of each finding.
NOTED = [
    ("mvtec", remove("nut/ground_truth/crack/2_mask.png"), ["has no mask"]),
    ("mvtec", remove("nut/test/crack/2.png"), ["without an image 2 "]),
    ("mvtec", redraw("nut/ground_truth/crack/2.png"), ["second mask beside 2.png"]),
    ("mvtec", redraw("nut/test/crack/2.jpg"), ["shares its name"]),
    ("mvtec", write("nut/train/good/0.png", b""), [r"is empty \(0 bytes\)"]),
    ("mvtec", write("nut/train/good/0.png", b"text"), ["can't be read as a picture"]),
    ("mvtec", write("nut/ground_truth/crack/2_mask.png", b"text"), ["can't be read as a picture"]),
    ("mvtec", redraw("nut/ground_truth/crack/2_mask.png", 0), ["mask is black"]),
    (
        "mvtec",
        redraw("nut/ground_truth/crack/2_mask.png", 1, (9, 8)),
        ["9x8 pixels, its image 12x8"],
    ),
    ("mvtec", lambda root: (root / "nut/test/hole").mkdir(), ["holds no picture"]),
    ("mvtec", lambda root: (root / "notes").mkdir(), ["neither train nor test"]),
    ("mvtec-loco", redraw(f"{LOGICAL}/001.png", 7), ["the value 7, which is not in"]),
    ("mvtec-loco", redraw("bag/test/logical_anomalies/000.bmp"), ["shares its name"]),
    ("mvtec-loco", redraw(f"{LOGICAL}/001.png", 0), ["mask is black"]),
    ("mvtec-loco", redraw("bag/test/logical_anomalies/9.png"), ["has no mask in .*/9"]),
    (
        "mvtec-loco",
        remove("bag/test/structural_anomalies/000.png"),
        ["no picture", "without an image 000"],
    ),
    ("visa", redraw("pcb1/Data/Images/Normal/7.JPG"), ["is in no line of image_anno"]),
    ("visa", redraw("pcb1/Data/Masks/Anomaly/7.png"), ["mask in no line"]),
    ("visa", change(ANNO, f",{MASK}", ","), ["line 3 has no mask", "mask in no line"]),
    ("visa", change(ANNO, "s/Anomaly/000.png", "s/Anomaly/1.png"), ["missing", "in no line"]),
    ("visa", change(ANNO, ",normal,", f",normal,{MASK}"), ["line 2 gives a mask"]),
    ("visa", change(SPLIT, f"pcb1,test,anomaly,{BAD},{MASK}\n", ""), ["in no line of split_csv"]),
    (
        "visa",
        change(ANNO, f"{MASK}\n", f"{MASK}\n{BAD},bent,{MASK}\n"),
        ["line 4 names .* once more"],
    ),
    ("real-iad", remove("realiad_1024/toy/NG/HS/b.png"), [r"test\[0\] names NG/HS/b.png"]),
    ("real-iad", change(TOY, '"NG/HS/b.png"', "null"), ["has no mask for"]),
    ("real-iad", change(TOY, '"HS"', '"XX"'), ["unknown code 'XX'"]),
    ("real-iad", change(TOY, '"HS"', '"OK"'), ["gives a mask to"]),
    ("kolektor", remove("kos02/Part0.jpg"), ["label without an image Part0"]),
    ("kolektor", redraw("train/10000_GT (copy).png"), ["neither an image nor a label"]),
    ("kolektor", redraw(LABEL, 255, (6, 6)), ["6x6 pixels"]),
    ("magnetic-tile", lambda root: (root / "MT_Fray").mkdir(), ["holds no picture"]),
    ("magnetic-tile", remove(f"{TILES}.png"), ["has no mask exp1.png"]),
    ("magnetic-tile", remove(f"{TILES}.jpg"), ["mask without an image exp1"]),
    ("magnetic-tile", redraw(f"{TILES}.png", 0), ["mask is black"]),
]


@pytest.mark.parametrize(("name", "harm", "words"), NOTED)
def test_fault_is_found_and_the_rest_is_read(
    name: str, harm: Break, words: list[str], tmp_path: Path
) -> None:
    MAKE[name](tmp_path)
    harm(tmp_path)
    found = [
        f"{finding.path}: {finding.what}"
        for finding in READERS[name].survey(tmp_path, source="set").findings
    ]
    assert len(found) == len(words), found
    for text, pattern in zip(found, words, strict=True):
        assert text.startswith(str(tmp_path))
        assert _search(pattern, text), text
    assert READERS[name].read(tmp_path, source="set")


BROKEN = [
    ("mvtec", lambda root: (root / "nut/train").rename(root / "nut/learn"), "no folder train/good"),
    ("mvtec-loco", remove("bag/defects_config.json"), "is missing, so no mask has a type"),
    ("mvtec-loco", write("bag/defects_config.json", b"[{}]"), "is no JSON list"),
    ("mvtec-loco", redraw("bag/test/odd/0.png"), "is none of good, logical_anomalies"),
    ("visa", remove(SPLIT), "1cls.csv: is missing"),
    ("visa", write(ANNO, b"image,label\n"), "lacks the columns mask"),
    ("visa", write(ANNO, b"\xff\xff"), "is no CSV in UTF-8"),
    ("visa", change(ANNO, "y/000.JPG", "y/001.JPG"), "line 3 names .*/001.JPG"),
    ("visa", change(ANNO, '"bent,melt"', ""), "line 3 has no label"),
    ("visa", change(SPLIT, "anomaly", "strange"), "line 3 has the split 'test' and the label 'str"),
    ("visa", change(SPLIT, "test,anomaly", "test,normal"), "and split_csv/1cls.csv the opposite"),
    ("visa", change(SPLIT, "000.png", "001.png"), "line 3 names .*/001.png"),
    ("real-iad", write(TOY, b"{"), "can't be read as JSON"),
    ("real-iad", write(TOY, b"[1]"), "lacks meta.normal_class"),
    ("real-iad", change(TOY, '"image_path": "OK', '"image": "OK'), r"train\[0\] lacks category"),
    ("real-iad", remove("realiad_1024/toy/OK/a.jpg"), r"train\[0\] names OK/a.jpg"),
    ("real-iad", change(TOY, "toy/", "boy/"), "names 2 pictures, none of which"),
    ("kolektor", remove(LABEL), "has no label"),
    ("kolektor", write(LABEL, b"text"), "can't be read, so it is not known"),
    ("magnetic-tile", redraw("MT_Odd/Imgs/exp1.jpg"), "has no type of this data set"),
]


@pytest.mark.parametrize(("name", "harm", "words"), BROKEN)
def test_broken_layout_is_refused_with_its_place(
    name: str, harm: Break, words: str, tmp_path: Path
) -> None:
    MAKE[name](tmp_path)
    harm(tmp_path)
    with pytest.raises(DatasetError, match=words) as caught:
        READERS[name].read(tmp_path, source="set")
    assert str(caught.value).startswith(str(tmp_path))
    assert any(
        _search(words, f"{found.path}: {found.what}")
        for found in READERS[name].survey(tmp_path, source="set").findings
    )


def _search(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


def test_read_counts_further_faults(tmp_path: Path) -> None:
    make_kolektor(tmp_path)
    for label in (tmp_path / "kos02").glob("*_label.bmp"):
        label.unlink()
    with pytest.raises(DatasetError, match=r"Part0\.jpg: has no label.* There are 2 such faults"):
        READERS["kolektor"].read(tmp_path, source="set")


def test_names_order_as_people_count() -> None:
    names = ["b1.png", "10.png", "a.png", "2.png", "02.png"]
    assert sorted(names, key=lambda name: natural_key(Path(name))) == [
        "02.png",
        "2.png",
        "10.png",
        "a.png",
        "b1.png",
    ]


def test_size_is_upright_and_values_keep_their_depth(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 8)).save(tmp_path / "turned.jpg", exif=exif)
    assert picture_size(tmp_path / "turned.jpg") == (8, 12)
    Image.fromarray(np.array([[0, 300, 7]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert grey_values(tmp_path / "deep.png") == (7, 300)
    Image.new("1", (3, 3), 1).save(tmp_path / "bits.png")
    assert grey_values(tmp_path / "bits.png") == (255,)
    assert grey_values(tmp_path / "none.png") is None
    draw(tmp_path / "page.eps")
    assert picture_size(tmp_path / "page.eps") is None
