"""Change pairs: the same by their number everywhere, half unchanged, truthful about each edit."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.commands import preview
from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.training.changes import CHANGE_LABELS, PhotoChanges, open_changes
from adcopilot_edge.training.changes.edits import change_canvas, edit_once
from adcopilot_edge.training.changes.regions import draw_region, grow_region
from adcopilot_edge.training.changes.visible import MIN_CHANGE, changed_pixels
from adcopilot_edge.training.synthetic.canvas import dilate
from adcopilot_edge.types import LabelledPair
from tests.photos import draw_photo, write_photos

SIZE = 112
SIDE = SIZE + 20


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> PhotoChanges:
    return open_changes(write_photos(tmp_path_factory.mktemp("photos")))


@pytest.fixture(scope="module")
def pairs(changes: PhotoChanges) -> list[LabelledPair]:
    return [changes.pair(number, size=SIZE) for number in range(120)]


def donor(rng: np.random.Generator, side: int) -> Image.Image:
    return draw_photo(int(rng.integers(1000)), side, side)


def test_a_number_gives_the_same_pair_in_another_process(changes: PhotoChanges) -> None:
    copy = pickle.loads(pickle.dumps(changes))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        others = [pool.submit(copy.pair, number, size=SIZE).result() for number in range(4)]
    for number, other in enumerate(others):
        assert_equal(changes.pair(number, size=SIZE), other)


def test_a_number_does_not_depend_on_what_was_made_before(changes: PhotoChanges) -> None:
    first = changes.pair(9, size=SIZE)
    changes.pair(3, size=SIZE)
    assert_equal(first, changes.pair(9, size=SIZE))


def test_numbers_and_seeds_differ(changes: PhotoChanges, pairs: list[LabelledPair]) -> None:
    assert len({pair.golden.tobytes() for pair in pairs}) == len(pairs)
    other = PhotoChanges(changes.photos, seed=1)
    assert other.pair(0, size=SIZE).golden.tobytes() != pairs[0].golden.tobytes()


def test_a_shorter_list_or_another_file_is_another_source(changes: PhotoChanges) -> None:
    assert changes.sha256() != PhotoChanges(changes.photos[:2]).sha256()


def test_about_half_are_unchanged(pairs: list[LabelledPair]) -> None:
    # 120 fair draws: the deviation is 5.5, so 22 is four of them.
    assert sum(pair.is_anomaly for pair in pairs) == pytest.approx(60, abs=22)


def test_every_kind_of_edit_has_a_share(pairs: list[LabelledPair]) -> None:
    counts = Counter(label for pair in pairs for label in pair.labels)
    assert set(counts) == set(CHANGE_LABELS)
    assert min(counts.values()) >= 0.06 * counts.total()


def test_shapes_and_boxes(pairs: list[LabelledPair]) -> None:
    for pair in pairs:
        assert pair.golden.shape == pair.test.shape == (SIZE, SIZE, 3)
        assert pair.golden.dtype == pair.test.dtype == np.uint8
        assert pair.mask is not None
        assert pair.mask.any() == pair.is_anomaly
        boxed = np.zeros_like(pair.mask)
        for x1, y1, x2, y2 in pair.boxes:
            assert 0 <= x1 < x2 <= SIZE
            assert 0 <= y1 < y2 <= SIZE
            window = np.s_[int(y1) : int(y2), int(x1) : int(x2)]
            assert np.count_nonzero(pair.mask[window]) >= 12
            boxed[window] = True
        assert not (pair.mask & ~boxed).any()


def test_unchanged_pairs_are_two_shots(pairs: list[LabelledPair]) -> None:
    good = [pair for pair in pairs if not pair.is_anomaly]
    assert all((pair.golden != pair.test).any() for pair in good)


@pytest.mark.parametrize("label", CHANGE_LABELS)
def test_an_edit_changes_what_its_marks_hold_and_nothing_else(label: str) -> None:
    """To the pixel, before light and noise; what is not marked differs by no more than the rule."""
    seen = 0
    for seed in range(60):
        canvas = draw_photo(seed, SIDE, SIDE)
        edited = edit_once(np.random.default_rng(seed), canvas, donor, label)
        if edited is None:
            continue
        after, marks = edited
        seen += 1
        change = np.abs(np.asarray(after, np.int16) - np.asarray(canvas)).max(axis=2)
        marked = np.any([mark.mask for mark in marks], axis=0)
        assert all(mark.label == label for mark in marks)
        assert not (marked & ~dilate(change > MIN_CHANGE)).any()
        assert change[~marked].max() <= MIN_CHANGE
    assert seen >= 4


def test_a_far_move_is_two_marks_and_a_near_one_is_one() -> None:
    counts = Counter[int]()
    for seed in range(60):
        canvas = draw_photo(seed, 244, 244)
        edited = edit_once(np.random.default_rng(seed), canvas, donor, "moved object")
        counts[0 if edited is None else len(edited[1])] += 1
    assert counts[1] >= 3
    assert counts[2] >= 3


def test_edits_of_a_canvas_lie_apart() -> None:
    for seed in range(12):
        canvas = draw_photo(seed, 244, 244)
        _, marks = change_canvas(np.random.default_rng(seed), canvas, donor, 4)
        total = np.sum([mark.mask for mark in marks], axis=0)
        assert total.max() <= 1


def test_a_faint_or_tiny_change_can_not_be_seen() -> None:
    canvas = Image.new("RGB", (SIDE, SIDE), (100, 100, 100))
    assert changed_pixels(canvas, canvas) is None
    assert changed_pixels(canvas, with_square(canvas, 20, level=110)) is None
    assert changed_pixels(canvas, with_square(canvas, 20, level=118)) is None
    assert changed_pixels(canvas, with_square(canvas, 3, level=255)) is None
    mask = changed_pixels(canvas, with_square(canvas, 20, level=140))
    assert mask is not None
    assert np.count_nonzero(mask) == 22 * 22  # grown by one on each side


def test_a_change_out_of_view_can_not_be_seen() -> None:
    canvas = Image.new("RGB", (SIDE, SIDE), (100, 100, 100))
    assert changed_pixels(canvas, with_square(canvas, 10, level=255, at=0)) is None


def test_other_grain_of_the_same_ground_can_not_be_seen() -> None:
    rng = np.random.default_rng(0)
    first, second = (
        Image.fromarray(rng.integers(60, 200, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(2)
    )
    assert changed_pixels(first, second) is None


def test_an_area_of_one_colour_is_found() -> None:
    """The red square, but for seeds on its edge, whose cells have a colour of their own."""
    canvas = Image.new("RGB", (SIDE, SIDE), (100, 100, 100))
    canvas.paste((220, 40, 40), (50, 50, 65, 65))
    square = np.zeros((SIDE, SIDE), dtype=np.bool_)
    square[50:65, 50:65] = True
    found = [grow_region(np.random.default_rng(seed), canvas) for seed in range(150)]
    overlaps = []
    for region in filter(None, found):
        left, top, right, bottom = region.window
        taken = np.zeros_like(square)
        taken[top:bottom, left:right] = np.asarray(region.alpha) > 128
        overlaps.append((taken & square).sum() / (taken | square).sum())
    assert len(overlaps) >= 3
    assert np.median(overlaps) > 0.8


def test_regions_stay_inside_the_picture() -> None:
    canvas = draw_photo(1, SIDE, SIDE)
    for seed in range(80):
        region = draw_region(np.random.default_rng(seed), canvas, grown_share=0.5)
        if region is not None:
            left, top, right, bottom = region.window
            assert 0 <= left < right <= SIDE
            assert 0 <= top < bottom <= SIDE


def test_pictures_that_can_not_be_used_are_told_by_name(tmp_path: Path) -> None:
    write_photos(tmp_path, 1)
    deep = tmp_path / "more" / "deeper"
    write_photos(deep, 1)
    whole = (tmp_path / "photo-0.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (300, 60)).save(tmp_path / "flat.png")
    Image.new("RGB", (1200, 130)).save(tmp_path / "long.png")
    told: list[tuple[int, int]] = []
    changes = open_changes(tmp_path, report=lambda done, total: told.append((done, total)))
    assert [path.name for path in changes.photos] == ["photo-0.jpg", "photo-0.jpg"]
    assert sorted(item.path.name for item in changes.skipped) == [
        "cut.jpg",
        "empty.png",
        "flat.png",
        "long.png",
        "text.png",
    ]
    reasons = " ".join(item.what for item in changes.skipped)
    for words in ("cut short", "0 bytes", "no image of a known format", "300x60", "8 times"):
        assert words in reasons
    assert told[-1] == (7, 7)


def test_a_folder_without_usable_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no folder"):
        open_changes(tmp_path / "none")
    with pytest.raises(DatasetError, match="no file is called like a picture"):
        open_changes(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"1 files: a\.png: .*0 bytes"):
        open_changes(tmp_path)


def test_grey_deep_and_transparent_photographs_are_read(tmp_path: Path) -> None:
    draw_photo(0, 200, 200).convert("L").save(tmp_path / "grey.jpg")
    draw_photo(1, 200, 200).convert("RGBA").save(tmp_path / "alpha.png")
    draw_photo(2, 200, 200).convert("CMYK").save(tmp_path / "cmyk.jpg")
    deep = np.asarray(draw_photo(3, 200, 200).convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    changes = open_changes(tmp_path)
    assert len(changes.photos) == 4
    for number in range(12):
        assert changes.pair(number, size=SIZE).golden.std() > 5


def test_large_photographs_are_scaled_down(tmp_path: Path) -> None:
    draw_photo(0, 2400, 1800).save(tmp_path / "large.jpg")
    pair = open_changes(tmp_path).pair(0, size=SIZE)
    assert pair.golden.shape == (SIZE, SIZE, 3)


def test_a_photograph_that_went_away_is_told(tmp_path: Path) -> None:
    changes = open_changes(write_photos(tmp_path / "photos", 1))
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(FileNotFoundError, match=r"photo-0\.jpg"):
        changes.pair(0, size=SIZE)


@pytest.mark.parametrize(
    ("number", "size", "words"), [(-1, SIZE, "number >= 0"), (0, 64, "size >= 112")]
)
def test_refuses_bad_arguments(changes: PhotoChanges, number: int, size: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        changes.pair(number, size=size)


def test_refuses_no_photographs() -> None:
    with pytest.raises(ConfigError, match="0 photographs"):
        PhotoChanges(())


def with_square(canvas: Image.Image, side: int, *, level: int, at: int = 50) -> Image.Image:
    copy = canvas.copy()
    copy.paste((level, level, level), (at, at, at + side, at + side))
    return copy


def assert_equal(first: LabelledPair, second: LabelledPair) -> None:
    np.testing.assert_array_equal(first.golden, second.golden)
    np.testing.assert_array_equal(first.test, second.test)
    assert first.mask is not None
    assert second.mask is not None
    np.testing.assert_array_equal(first.mask, second.mask)
    assert (first.name, first.boxes, first.labels) == (second.name, second.boxes, second.labels)


def test_the_command_draws_a_sheet_and_tells_what_it_left_out(
    tmp_path: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "_PAIRS", 3)
    photos = write_photos(tmp_path / "photos", 2)
    (photos / "cut.jpg").write_bytes(b"")
    sheet = tmp_path / "sheet.png"
    code, _, err = cli("train", "nano", "--preview", sheet, "--changes", photos)
    assert code == 0
    assert "cut.jpg is empty (0 bytes)" in err
    assert "2 photographs, 1 left out" in err
    with Image.open(sheet) as picture:
        assert picture.size == (3 * 684, 242)


def test_changes_without_a_sheet_are_refused(
    tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = cli("train", "nano", "--changes", tmp_path)
    assert code == 2
    assert "--changes goes with --preview" in err
