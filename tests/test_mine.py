"""From images of data sets to pairs: templates, what is told, order, and records as JSON."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.knowledge import load_knowledge
from adcopilot_edge.training.chat_ad.look import Look, look_at, pictures_of
from adcopilot_edge.training.chat_ad.match import match_images
from adcopilot_edge.training.chat_ad.mine import mine, mine_match
from adcopilot_edge.training.chat_ad.mined import DefectFacts, MinedDefect, MinedPair
from adcopilot_edge.training.chat_ad.source import Finding, SourceDefect, SourceImage
from adcopilot_edge.training.chat_ad.stage_file import read_records, write_records
from adcopilot_edge.types import FloatArray

T = TypeVar("T")


def draw(path: Path, *, at: int = 10, light: int = 0, size: tuple[int, int] = (80, 60)) -> Path:
    """A bright bar that stands ``at`` so many pixels from the left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), 60 + light, dtype=np.uint8)
    pixels[10:50, at : at + 8] = 180 + light
    Image.fromarray(pixels).save(path)
    return path


class Folder:
    """Images of one source, drawn on demand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images: list[SourceImage] = []

    def add(
        self,
        name: str,
        *,
        category: str = "bar",
        split: str = "train",
        label: str | None = None,
        template: Path | None = None,
        draw_it: bool = True,
        **look: Any,
    ) -> SourceImage:
        path = draw(self.root / name, **look) if draw_it else self.root / name
        defects = (SourceDefect(label=label, boxes=((12.0, 20.0, 20.0, 30.0),)),) if label else ()
        image = SourceImage(
            path=path,
            source="set",
            category=category,
            split=split,
            defects=defects,
            template=template,
        )
        self.images.append(image)
        return image

    def mine(
        self, images: Sequence[SourceImage] | None = None
    ) -> tuple[list[MinedPair], list[Finding]]:
        told: list[Finding] = []
        chosen = self.images if images is None else images
        return list(mine(chosen, roots={"set": self.root}, tell=told.append)), told

    def templates(self) -> dict[str, str]:
        """The template of each query by their names."""
        return {pair.query.name: pair.template.name for pair in self.mine()[0]}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_normal_image_of_the_same_pose_is_the_template(folder: Folder) -> None:
    for at in (10, 30, 50):
        folder.add(f"good/{at}.png", at=at)
    folder.add("bad/a.png", at=31, light=40, label="scratch", split="test")
    folder.add("bad/b.png", at=49, light=-30, label="dent", split="test")
    pairs, told = folder.mine()
    assert not told
    by_name = {pair.query.name: pair for pair in pairs}
    assert by_name["a.png"].template.name == "30.png"
    assert by_name["b.png"].template.name == "50.png"
    assert [pair.key for pair in pairs] == [
        f"set/{name}"
        for name in ("good/10.png", "good/30.png", "good/50.png", "bad/a.png", "bad/b.png")
    ]
    bad = by_name["a.png"]
    assert (bad.rule, bad.split, bad.query_size, bad.template_size) == (
        "similar",
        "test",
        (80, 60),
        (80, 60),
    )
    assert 0.8 < bad.similarity <= 1
    assert bad.labels == ("scratch",)
    assert bad.other_labels == ("dent",)
    assert bad.defects[0].description.startswith("a thin line")
    assert by_name["10.png"].is_normal
    assert by_name["10.png"].other_labels == ("dent", "scratch")


def test_no_query_is_its_own_template_nor_are_its_copies(folder: Folder) -> None:
    folder.add("a.png", at=10)
    folder.add("copy of a.bmp", at=10)
    folder.add("b.png", at=40)
    assert folder.templates() == {"a.png": "b.png", "copy of a.bmp": "b.png", "b.png": "a.png"}


def test_training_images_come_before_those_of_a_test(folder: Folder) -> None:
    folder.add("train.png", at=60)
    folder.add("test.png", at=10, split="test")
    folder.add("bad.png", at=11, split="test", label="scratch")
    assert folder.templates() == {
        "train.png": "test.png",
        "test.png": "train.png",
        "bad.png": "train.png",
    }


def test_a_template_of_other_proportions_is_the_last_choice(folder: Folder) -> None:
    folder.add("wide.png", at=10, size=(160, 60))
    folder.add("same.png", at=40)
    folder.add("bad.png", at=11, label="scratch")
    assert folder.templates()["bad.png"] == "same.png"


def test_categories_and_sources_are_kept_apart(folder: Folder) -> None:
    folder.add("a/1.png", at=10, category="a")
    folder.add("a/2.png", at=40, category="a")
    folder.add("b/3.png", at=11, category="b", label="scratch")
    other = replace(folder.images[0], source="other")
    told: list[Finding] = []
    roots = {"set": folder.root, "other": folder.root}
    pairs = list(mine([*folder.images, other], roots=roots, tell=told.append))
    assert [pair.key for pair in pairs] == ["set/a/1.png", "set/a/2.png"]
    assert [one.path.name for one in told] == ["3.png", "1.png"]
    assert "category b has no other normal image" in told[0].what


def test_the_named_template_is_taken(folder: Folder) -> None:
    golden, wide = (
        draw(folder.root / "g/1.png", at=60),
        draw(folder.root / "g/2.png", size=(90, 60)),
    )
    folder.add("1.png", at=10, label="scratch", template=golden)
    folder.add("2.png", at=11, label="scratch", template=wide)
    folder.add("3.png", at=10)
    pairs, told = folder.mine()
    assert not told[:-1]
    assert [(pair.template.parent.name, pair.rule) for pair in pairs] == [
        ("g", "aligned"),
        ("g", "similar"),
    ]
    assert pairs[0].similarity == 1
    assert pairs[1].similarity < 1
    assert pairs[1].template_size == (90, 60)
    assert told[0].path.name == "3.png"


def test_a_named_template_that_can_not_be_used_is_replaced_and_told(folder: Folder) -> None:
    damaged = folder.root / "damaged.png"
    damaged.write_bytes(b"none")
    copy = draw(folder.root / "g/copy.png", at=33)
    folder.add("1.png", at=10, label="scratch", template=damaged)
    folder.add("2.png", at=33, template=copy)
    folder.add("3.png", at=12)
    pairs, told = folder.mine()
    assert [pair.template.name for pair in pairs] == ["3.png", "3.png", "2.png"]
    assert {pair.rule for pair in pairs} == {"similar"}
    assert [(one.path.name, one.what.split(";")[-1]) for one in told] == [
        ("damaged.png", told[0].what),
        ("1.png", " another is taken"),
        ("2.png", " another is taken"),
    ]


def test_what_can_not_be_read_is_told_and_never_mined(folder: Folder) -> None:
    folder.add("a.png", at=10)
    folder.add("b.png", at=12)
    folder.add("gone.png", draw_it=False)
    folder.add("damaged.png", draw_it=False, label="scratch").path.write_bytes(b"\x89PNG none")
    pairs, told = folder.mine()
    assert [pair.query.name for pair in pairs] == ["a.png", "b.png"]
    assert [one.path.name for one in told] == ["gone.png", "damaged.png"]
    assert not any(str(folder.root / "damaged.png") in one.what for one in told[1:])


def test_an_image_that_is_given_twice_is_mined_once(folder: Folder) -> None:
    a, b = folder.add("a.png", at=10), folder.add("b.png", at=12)
    pairs, told = folder.mine([a, b, a, replace(b, category="other")])
    assert len(pairs) == 2
    assert [one.what for one in told] == ["is given twice; the second is left out"] * 2


def test_defects_without_a_usable_place_stay(folder: Folder) -> None:
    folder.add("a.png")
    bad = folder.add("bad.png", at=12)
    draw(folder.root / "mask.png", size=(40, 30))
    wrong = SourceDefect(label="dent", mask=folder.root / "mask.png")
    somewhere = SourceDefect(label="crack")
    placed = SourceDefect(label="scratch", boxes=((30.0, 5.0, 40.0, 15.0),))
    above = SourceDefect(label="hole", boxes=((1.0, 2.0, 4.0, 4.0),))
    images = [folder.images[0], replace(bad, defects=(wrong, somewhere, placed, above))]
    (pair,), told = folder.mine(images)
    assert [defect.label for defect in pair.defects] == ["hole", "scratch", "dent", "crack"]
    assert [bool(defect.facts) for defect in pair.defects] == [True, True, False, False]
    assert not pair.is_placed
    assert [one.path.name for one in told] == ["a.png", "mask.png"]


def test_a_picture_that_changes_under_way_is_told(folder: Folder) -> None:
    folder.add("a.png")
    bad = folder.add("bad.png", at=12, label="scratch")
    looks = {path: look_at(path) for path in pictures_of(folder.images)}
    known = {path: look for path, look in looks.items() if isinstance(look, Look)}
    told: list[Finding] = []
    (match,) = match_images(folder.images, known, roots={"set": folder.root}, tell=told.append)
    draw(bad.path, size=(81, 60))
    mined = mine_match(match, load_knowledge())
    assert mined.pair is None
    assert "not the picture that was matched" in mined.findings[0].what
    bad.path.unlink()
    mined = mine_match(match, load_knowledge())
    assert mined.pair is None
    assert "no file" in mined.findings[0].what


def test_a_root_that_does_not_fit_is_refused(folder: Folder) -> None:
    folder.add("a.png")
    roots: Mapping[str, Path]
    for roots, words in (({}, "nobody says"), ({"set": folder.root / "x"}, "is not in")):
        with pytest.raises(DatasetError, match=words):
            list(mine(folder.images, roots=roots, tell=print))


def test_keys_do_not_depend_on_how_the_folder_is_named(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.add("a.png", at=10)
    folder.add("b.png", at=30)
    link = folder.root.parent / f"{folder.root.name}-link"
    link.symlink_to(folder.root)
    monkeypatch.chdir(folder.root.parent)
    for root in (link, Path(folder.root.name)):
        pairs = list(mine(folder.images, roots={"set": root}, tell=print))
        assert [pair.key for pair in pairs] == ["set/a.png", "set/b.png"]


def test_the_same_whatever_the_order_and_the_size_of_blocks(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for number in range(25):
        label = "dent" if number % 3 == 0 else None
        folder.add(f"{number}.png", at=int(rng.integers(5, 70)), label=label)
    whole = {pair.key: pair for pair in folder.mine()[0]}
    monkeypatch.setattr("adcopilot_edge.training.chat_ad.match._BLOCK", 4)
    turned = {pair.key: pair for pair in folder.mine(folder.images[::-1])[0]}
    assert turned == whole


def test_each_picture_is_looked_at_once_and_other_features_can_be_used(folder: Folder) -> None:
    golden = draw(folder.root / "golden.png", at=20)
    folder.add("1.png", at=10, template=golden, label="scratch")
    folder.add("2.png", at=10, light=1, template=golden, label="scratch")
    folder.add("3.png", at=70)
    folder.add("4.png", at=10, light=2)
    seen: list[tuple[int, int]] = []

    def by_brightness(picture: Image.Image) -> FloatArray:
        seen.append(picture.size)
        level = np.asarray(picture).mean() / 255
        return np.array([level, np.sqrt(1 - level**2)], dtype=np.float32)

    roots = {"set": folder.root}
    pairs = list(mine(folder.images, roots=roots, tell=print, describe=by_brightness))
    assert len(seen) == 5
    assert len(pairs) == 4


def test_thousands_of_normal_images_are_searched_at_once() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    images: list[SourceImage] = []
    looks: dict[Path, Look] = {}
    for number, vector in enumerate(vectors):
        path = Path(f"/set/{number:04}.png")
        images.append(SourceImage(path=path, source="set", category="c", split="train"))
        looks[path] = Look(path=path, size=(10, 10), vector=vector, pixels=str(number))
    near = Path("/set/query.png")
    defects = (SourceDefect(label="dent"),)
    images.append(SourceImage(path=near, source="set", category="c", split="test", defects=defects))
    looks[near] = Look(path=near, size=(10, 10), vector=vectors[1234], pixels="query")
    matches = list(match_images(images, looks, roots={"set": Path("/set")}, tell=print))
    assert len(matches) == 3001
    assert matches[-1].template.name == "1234.png"
    assert matches[-1].similarity == pytest.approx(1, abs=1e-4)


PAIR = MinedPair(
    key="set/ä/1.png",
    source="set",
    category="bar",
    split="test",
    query=Path("/set/ä/1.png"),
    template=Path("good/2.png"),
    query_size=(80, 60),
    template_size=(81, 60),
    rule="similar",
    similarity=0.1 + 0.2,
    defects=(
        MinedDefect(label="dent"),
        MinedDefect(
            label="scratch",
            boxes=((1 / 3, 2.0, 3.5, 4.0), (0.0, 5.0, 6.0, 7.0)),
            facts=DefectFacts(place="centre", area=1e-17, size="tiny", contrast="darker"),
            description="a line",
        ),
    ),
    other_labels=("crack", "hole"),
    product="bar",
)


def stored(record: T, folder: Path) -> T:
    """The record behind a way over a file."""
    write_records(folder / "records.jsonl", [record])
    (found,) = read_records(folder / "records.jsonl", type(record))
    return found


def test_records_pass_through_files_and_pickle(folder: Folder, tmp_path: Path) -> None:
    assert stored(PAIR, tmp_path) == PAIR
    folder.add("a.png", at=10)
    folder.add("b.png", at=12, label="scratch")
    told: list[Finding] = []
    looks = {
        path: look for path in pictures_of(folder.images) if isinstance(look := look_at(path), Look)
    }
    for look in looks.values():
        assert np.array_equal(pickle.loads(pickle.dumps(look)).vector, look.vector)
    for match in match_images(folder.images, looks, roots={"set": folder.root}, tell=told.append):
        assert stored(match, tmp_path) == match
        assert pickle.loads(pickle.dumps(match)) == match
        mined = mine_match(match, load_knowledge())
        assert stored(mined, tmp_path) == mined


@pytest.mark.parametrize(
    "change",
    [{"rule": "nearest"}, {"query_size": [1]}, {"defects": [{"label": 3}]}],
)
def test_what_is_no_record_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write_records(path, [PAIR])
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DatasetError, match=r"records\.jsonl can't be read"):
        list(read_records(path, MinedPair))
