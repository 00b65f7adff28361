"""A user's own folder as pairs: true to the parts, the same by number, apart from the hold-out."""

from __future__ import annotations

import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.calibration.pair_list import read_pair_list
from adcopilot_edge.calibration.pairs import list_candidates
from adcopilot_edge.errors import ConfigError, DatasetError, TooFewSamplesError
from adcopilot_edge.training.folder import (
    Folder,
    FolderPairs,
    FolderSettings,
    held_out_pairs,
    open_folder,
    write_list,
)
from adcopilot_edge.training.folder.parts import is_held_out
from adcopilot_edge.training.pair_source import make_pair
from adcopilot_edge.types import BBox, LabelledPair
from tests.part_folders import (
    DEFECT,
    HEIGHT,
    WIDTH,
    draw_part,
    write_listed,
    write_mvtec,
    write_plain,
)

SIZE = 112
STILL = FolderSettings(symmetry="none", light=0.0, shift_px=0.0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return open_folder(write_plain(tmp_path_factory.mktemp("plain") / "lids"))


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return open_folder(write_listed(tmp_path_factory.mktemp("listed") / "lids"))


def test_good_bad_and_painted_pairs_have_their_shares(listed: Folder) -> None:
    counts = Counter(pair.name.split("-")[0] for pair in make(FolderPairs(listed), 160))
    # Deviations are 6.3 and 5.5 pairs; four of each.
    assert counts["good"] == pytest.approx(80, abs=26)
    assert counts["bad"] == pytest.approx(40, abs=22)
    assert counts["painted"] == pytest.approx(40, abs=22)


def test_each_kind_is_what_it_says(listed: Folder) -> None:
    for pair in make(FolderPairs(listed), 60):
        assert pair.golden.shape == pair.test.shape == (SIZE, SIZE, 3)
        assert pair.mask is not None
        assert not pair.is_unplaced
        assert pair.is_anomaly == pair.mask.any() == (not pair.name.startswith("good"))
        if pair.name.startswith("bad"):
            assert pair.labels == ("spot",)
            assert pair.category == "plate"
        if pair.name.startswith("painted"):
            assert "spot" not in pair.labels


def test_a_bad_part_whose_place_nobody_knows_is_unplaced(plain: Folder) -> None:
    bad = [pair for pair in make(FolderPairs(plain), 60) if pair.name.startswith("bad")]
    assert bad
    for pair in bad:
        assert pair.is_anomaly
        assert pair.is_unplaced
        assert pair.mask is None
        assert not pair.boxes


@pytest.mark.parametrize("with_boxes", [False, True])
def test_boxes_are_where_the_defect_is(tmp_path: Path, with_boxes: bool) -> None:
    root = write_listed(tmp_path / "lids", with_boxes=with_boxes)
    pairs = make(FolderPairs(open_folder(root, STILL)), 40)
    bad = [pair for pair in pairs if pair.name.startswith("bad")]
    assert bad
    for pair in bad:
        (box,) = pair.boxes
        assert np.abs(np.subtract(box, scaled(DEFECT))).max() <= 1.0
        assert dark_share(pair, box) > 0.9


def test_a_defect_smaller_than_a_pixel_is_shown(tmp_path: Path) -> None:
    root = write_listed(tmp_path / "lids", scale=8, num_good=4, num_bad=4)
    mask = Image.new("L", (8 * WIDTH, 8 * HEIGHT))
    mask.paste(255, (640, 512, 643, 515))
    mask.save(root / "mask.png")
    bad = [pair for pair in make(FolderPairs(open_folder(root)), 16) if pair.name[:3] == "bad"]
    assert bad
    for pair in bad:
        assert pair.mask is not None
        assert 1 <= pair.mask.sum() < 4
        assert pair.labels == ("spot",)


def test_pairs_that_can_not_be_made_end_in_an_error() -> None:
    with pytest.raises(DatasetError, match="lids: 300 attempts at pair 7 showed no defect"):
        make_pair(lambda rng: None, 0, 7, what="lids")


@pytest.mark.parametrize("symmetry", ["flips", "all"])
def test_boxes_and_masks_turn_with_the_picture(tmp_path: Path, symmetry: str) -> None:
    root = write_listed(tmp_path / "lids")
    settings = FolderSettings.model_validate({"symmetry": symmetry, "light": 0.0})
    pairs = make(FolderPairs(open_folder(root, settings)), 120)
    bad = [pair for pair in pairs if pair.name.startswith("bad")]
    corners = {
        tuple(value > SIZE / 2 for value in (pair.boxes[0][0] + 10, pair.boxes[0][1] + 10))
        for pair in bad
    }
    assert len(corners) >= 3
    for pair in bad:
        assert pair.mask is not None
        assert dark_share(pair, pair.boxes[0]) > 0.85
        assert (pair.test[pair.mask].mean(axis=1) < 90).mean() > 0.85


def test_golden_and_test_turn_and_move_together(listed: Folder) -> None:
    """Where nothing is wrong, both show the same holes at the same pixels."""
    for pair in make(FolderPairs(listed), 40):
        if pair.name.startswith("good"):
            one, other = (image.mean(axis=2) < 110 for image in (pair.golden, pair.test))
            assert (one & other).sum() >= 0.6 * (one | other).sum()


def test_without_light_the_pixels_are_those_of_the_runtime(tmp_path: Path) -> None:
    folder = open_folder(write_plain(tmp_path / "lids"), STILL)
    golden = draw_part(0).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    pair = next(pair for pair in make(FolderPairs(folder), 20) if pair.name.startswith("good"))
    np.testing.assert_array_equal(pair.golden, np.asarray(golden))


def test_a_number_gives_the_same_pair_in_another_process(listed: Folder) -> None:
    source = FolderPairs(listed)
    copy = pickle.loads(pickle.dumps(source))
    for number in range(8):
        one, other = source.pair(number, size=SIZE), copy.pair(number, size=SIZE)
        np.testing.assert_array_equal(one.test, other.test)
        np.testing.assert_array_equal(one.golden, other.golden)
        assert (one.boxes, one.labels, one.name) == (other.boxes, other.labels, other.name)
    assert source.pair(0, size=SIZE).test.tobytes() != source.pair(1, size=SIZE).test.tobytes()


def test_what_is_held_out_never_trains(tmp_path: Path) -> None:
    root = write_plain(tmp_path / "lids", num_good=12, num_bad=8)
    folder = open_folder(root, FolderSettings(holdout=0.4))
    held = {part.image.path.stem for part in folder.held_out}
    assert held
    assert not held & {part.image.path.stem for part in folder.train}
    assert len(folder.train) + len(folder.held_out) == 20
    for part in folder.held_out:
        part.image.path.unlink()  # a pair that opened one would fail
    make(FolderPairs(folder), 60)


def test_the_split_goes_by_pixels_alone(tmp_path: Path) -> None:
    first = open_folder(write_plain(tmp_path / "lids", num_good=12))
    other = tmp_path / "others"
    shutil.copytree(tmp_path / "lids", other)
    for path in sorted((other / "good").iterdir()):  # other names, other format, one more
        Image.open(path).save(path.with_name(f"new-{path.stem}.bmp"))
        path.unlink()
    draw_part(777).save(other / "good" / "added.png")
    second = open_folder(other)
    assert {part.sha256 for part in first.held_out} <= {part.sha256 for part in second.held_out}
    assert {part.sha256 for part in first.train} <= {part.sha256 for part in second.train}


def test_copies_count_once_and_contradictions_not_at_all(tmp_path: Path) -> None:
    root = write_plain(tmp_path / "lids")
    shutil.copy(root / "good" / "good-1.png", root / "good" / "good-1-again.png")
    shutil.copy(root / "good" / "good-2.png", root / "bad" / "spot" / "good-2.png")
    shutil.copy(root / "golden" / "golden.png", root / "good" / "golden.png")
    folder = open_folder(root)
    names = [part.image.path.name for part in (*folder.train, *folder.held_out)]
    assert sum(name.startswith("good-1") for name in names) == 1
    assert "good-2.png" not in names
    assert "golden.png" not in names
    told = " ".join(finding.what for finding in folder.findings)
    for words in ("is a copy of", "one good and one bad", "has the pixels of its golden image"):
        assert words in told


def test_pictures_that_can_not_be_used_are_told(tmp_path: Path) -> None:
    root = write_plain(tmp_path / "lids")
    whole = (root / "good" / "good-1.png").read_bytes()
    (root / "good" / "good-1.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (WIDTH, WIDTH)).save(root / "good" / "square.png")
    folder = open_folder(root)
    told = {finding.path.name: finding.what for finding in folder.findings}
    assert "read as a picture" in told["good-1.png"]
    assert "proportions differ" in told["square.png"]


def test_too_few_good_parts_are_an_error(tmp_path: Path) -> None:
    root = write_plain(tmp_path / "lids", num_good=0)
    with pytest.raises(TooFewSamplesError, match="0 good parts to train with, at least 1"):
        open_folder(root)
    with pytest.raises(DatasetError, match="there is no folder"):
        open_folder(tmp_path / "none")


def test_without_bad_parts_more_are_painted(tmp_path: Path) -> None:
    source = FolderPairs(open_folder(write_plain(tmp_path / "lids", num_bad=0)))
    assert source.shares == (0.5, 0.0, 0.5)
    kinds = Counter(pair.name.split("-")[0] for pair in make(source, 40))
    assert set(kinds) == {"good", "painted"}


def test_a_layout_without_golden_images_takes_other_good_parts(tmp_path: Path) -> None:
    folder = open_folder(write_mvtec(tmp_path / "plates"), STILL)
    assert folder.layout == "mvtec"
    train = {part.sha256 for part in folder.train if part.image.is_normal}
    for pair in make(FolderPairs(folder), 30):
        assert (pair.golden != pair.test).any()
    assert len(train) >= 2
    for pair in held_out_pairs(folder, size=SIZE):
        assert pair.is_anomaly == (pair.name.startswith("1"))


def test_parts_are_compared_with_none_of_another_category(tmp_path: Path) -> None:
    write_mvtec(tmp_path / "parts" / "plate")
    lid = write_mvtec(tmp_path / "parts" / "lid", num_good=1, noise=1000)
    (lid / "test" / "good" / "050.png").unlink()
    folder = open_folder(tmp_path / "parts", FolderSettings(holdout=0.0))
    assert {part.image.category for part in folder.train} == {"plate"}
    told = [words for words in folder.to_json()["left_out"] if "no golden image" in words]
    assert len(told) == 7
    for words in told:
        assert words.startswith("lid/")
        assert "1 good parts of lid train where 2 are needed" in words


def test_tiles_are_parts_of_the_picture_at_its_own_scale(tmp_path: Path) -> None:
    root = write_listed(tmp_path / "lids", scale=2)
    settings = FolderSettings(symmetry="none", light=0.0, shift_px=0.0, tile=True)
    source = FolderPairs(open_folder(root, settings))
    pairs = [pair for pair in make(source, 30) if not pair.name.startswith("painted")]
    seen = [pair for pair in pairs if pair.is_anomaly]
    assert seen
    for pair in pairs:
        assert pair.is_anomaly == bool((pair.test.mean(axis=2) < 50).sum() >= 16)
    for pair in seen:
        assert dark_share(pair, pair.boxes[0]) > 0.9


def test_tiles_leave_out_bad_parts_of_unknown_place(tmp_path: Path) -> None:
    root = write_plain(tmp_path / "lids", scale=2)
    source = FolderPairs(open_folder(root, FolderSettings(tile=True)))
    assert source.bad == ()
    assert not any(pair.is_unplaced for pair in make(source, 20))


def test_held_out_pairs_are_as_taken(tmp_path: Path) -> None:
    folder = open_folder(write_listed(tmp_path / "lids", num_bad=12), FolderSettings(holdout=0.5))
    pairs = held_out_pairs(folder, size=SIZE)
    assert len(pairs) == len(folder.held_out)
    bad = [pair for pair in pairs if pair.is_anomaly]
    assert bad
    assert len(bad) < len(pairs)
    for pair in bad:
        assert np.abs(np.subtract(pair.boxes[0], scaled(DEFECT))).max() <= 1.0


@pytest.mark.parametrize("layout", ["plain", "list", "mvtec"])
def test_the_list_of_what_is_held_out_is_read_by_evaluate(tmp_path: Path, layout: str) -> None:
    writers: dict[str, Callable[..., Path]] = {
        "plain": write_plain,
        "list": write_listed,
        "mvtec": write_mvtec,
    }
    folder = open_folder(
        writers[layout](tmp_path / "lids", num_good=10), FolderSettings(holdout=0.5)
    )
    path = tmp_path / "run" / "holdout.jsonl"
    path.parent.mkdir()
    write_list(folder, folder.held_out, path)
    pairs = read_pair_list(path).pairs
    assert [pair.is_anomaly for pair in pairs] == [
        not part.image.is_normal for part in folder.held_out
    ]
    opened = [candidate.open() for candidate in list_candidates(path)]
    bad = [pair for pair in opened if pair.is_anomaly]
    assert bad
    for pair in bad:
        assert pair.is_unplaced == (layout == "plain")
        if layout != "plain":
            assert pair.boxes == (tuple(map(float, DEFECT)),)


def test_the_split_is_told(plain: Folder) -> None:
    told = json.loads(json.dumps(FolderPairs(plain).to_json()))
    assert told["layout"] == "plain"
    assert told["holdout"] == 0.25
    assert told["shares"] == {"good": 0.5, "bad": 0.25, "painted": 0.25}
    assert sum(told["train"].values()) + sum(told["held_out"].values()) == 14


def test_a_hash_is_held_out_by_its_size() -> None:
    assert is_held_out("0" * 64, 0.01)
    assert not is_held_out("0" * 64, 0.0)
    assert is_held_out("7f" * 32, 0.5)
    assert not is_held_out("80" + "0" * 62, 0.5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"holdout": 1.0}, "holdout"),
        ({"light": 2.0}, "light"),
        ({"shift_px": 20.0}, "shift_px"),
        ({"symmetry": "some"}, "symmetry"),
        ({"lihgt": 0.1}, "lihgt"),
        ({"shares": {"good": 0.5, "bad": 0.5, "painted": 0.5}}, "add up to 1"),
        ({"shares": {"good": 1.0, "bad": 0.0, "painted": 0.0}}, "less than 1"),
    ],
)
def test_refuses_bad_settings(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FolderSettings.model_validate(settings)


@pytest.mark.parametrize(("number", "size"), [(-1, SIZE), (0, 64)])
def test_refuses_bad_arguments(plain: Folder, number: int, size: int) -> None:
    with pytest.raises(ConfigError, match="number >= 0 and size >= 112"):
        FolderPairs(plain).pair(number, size=size)


def make(source: FolderPairs, count: int) -> list[LabelledPair]:
    return [source.pair(number, size=SIZE) for number in range(count)]


def scaled(box: tuple[int, int, int, int]) -> BBox:
    across, down = SIZE / WIDTH, SIZE / HEIGHT
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def dark_share(pair: LabelledPair, box: BBox) -> float:
    x1, y1, x2, y2 = (round(value) for value in box)
    return float((pair.test[y1:y2, x1:x2].mean(axis=2) < 90).mean())
