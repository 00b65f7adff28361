"""The synthetic pairs: repeatable, well formed, half of them good, and truthful about defects."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.metrics import roc_auc
from adcopilot_edge.training.pair_sheet import draw_pairs
from adcopilot_edge.training.synthetic import (
    DEFECT_LABELS,
    SURFACES,
    SyntheticPair,
    generate_pair,
)
from adcopilot_edge.training.synthetic.conveyor import Conveyor
from adcopilot_edge.training.synthetic.flecks import draw_flecks
from adcopilot_edge.training.synthetic.line_work import draw_line_work
from adcopilot_edge.training.synthetic.surfaces import (
    DRAW_SURFACE,
    SURFACE_SHARES,
    UNSEEN_SURFACES,
)

SIZE = 224


@pytest.fixture(scope="module")
def pairs() -> list[SyntheticPair]:
    return [generate_pair(seed, size=SIZE) for seed in range(200)]


@pytest.mark.parametrize("surface", SURFACES)
def test_same_seed_gives_the_same_pixels(surface: str) -> None:
    first, again = (generate_pair(7, surface=surface) for _ in range(2))
    np.testing.assert_array_equal(first.golden, again.golden)
    np.testing.assert_array_equal(first.test, again.test)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert first.defects == again.defects


def test_seeds_differ() -> None:
    images = {generate_pair(seed, size=112).test.tobytes() for seed in range(40)}
    assert len(images) == 40


@pytest.mark.parametrize("size", [112, 224, 280])
@pytest.mark.parametrize("surface", SURFACES)
def test_arrays_have_the_shape_asked_for(surface: str, size: int) -> None:
    pair = generate_pair(3, size=size, surface=surface)
    assert pair.golden.shape == pair.test.shape == (size, size, 3)
    assert pair.golden.dtype == pair.test.dtype == np.uint8
    assert pair.mask.shape == (size, size)
    assert pair.mask.dtype == np.bool_
    assert (pair.surface, pair.seed) == (surface, 3)


def test_about_half_are_good(pairs: list[SyntheticPair]) -> None:
    # 200 fair draws: the deviation is 7.1, so 28 is four of them.
    assert sum(pair.is_anomaly for pair in pairs) == pytest.approx(100, abs=28)


def test_boards_have_the_largest_share(pairs: list[SyntheticPair]) -> None:
    share = {name: n / len(pairs) for name, n in Counter(pair.surface for pair in pairs).items()}
    assert share["binary board"] == pytest.approx(0.45, abs=0.13)
    assert share["colour board"] == pytest.approx(0.15, abs=0.1)
    assert set(share) == set(SURFACES) - set(UNSEEN_SURFACES)


def test_no_training_draws_the_surfaces_that_measure_it() -> None:
    drawn = {name: share for name, share in zip(SURFACES, SURFACE_SHARES, strict=True) if share}
    assert drawn.keys() == set(SURFACES) - set(UNSEEN_SURFACES)
    assert len(UNSEEN_SURFACES) == 3
    assert sum(drawn.values()) == pytest.approx(1.0)


def test_line_work_covers_a_part_of_the_ground_and_flecks_fall_anew_on_each_piece() -> None:
    rng = np.random.default_rng(0)
    grey = Image.new("RGB", (96, 96), (128, 128, 128))
    lined = [np.asarray(draw_line_work(rng, grey.copy(), [(0, 0, 0)])) for _ in range(12)]
    drawn = [float((image < 100).any(axis=2).mean()) for image in lined]
    assert min(drawn) > 0.0
    assert max(drawn) < 0.6
    products = [draw_flecks(rng, 96) for _ in range(40)]
    pieces = [(flecks(rng), flecks(rng)) for flecks in products]
    flecked = [(one, other) for one, other in pieces if one.any()]
    assert 8 < len(flecked) < 32  # 40 fair draws: the deviation is 3.2, so 12 is nearly four
    for one, other in flecked:
        assert one.shape == (96, 96, 3)
        assert not np.array_equal(one, other)
        assert (one != 0).any(axis=2).mean() < 0.25


def test_good_pairs_have_an_empty_mask_and_bad_pairs_do_not(pairs: list[SyntheticPair]) -> None:
    for pair in pairs:
        assert pair.mask.any() == pair.is_anomaly


def test_boxes_hold_the_defects(pairs: list[SyntheticPair]) -> None:
    for pair in pairs:
        boxed = np.zeros_like(pair.mask)
        for defect in pair.defects:
            x1, y1, x2, y2 = defect.bbox_2d
            assert 0 <= x1 < x2 <= SIZE
            assert 0 <= y1 < y2 <= SIZE
            assert 12 <= defect.area <= np.count_nonzero(pair.mask[y1:y2, x1:x2])
            boxed[y1:y2, x1:x2] = True
        assert not (pair.mask & ~boxed).any()
        assert sum(defect.area for defect in pair.defects) == np.count_nonzero(pair.mask)


def test_every_label_is_drawn() -> None:
    seeds_and_surfaces = [(seed, surface) for surface in SURFACES for seed in range(16)]
    seen = {
        defect.label
        for seed, surface in seeds_and_surfaces
        for defect in generate_pair(seed, surface=surface).defects
    }
    assert seen == set(DEFECT_LABELS)


def test_a_defect_shows_against_the_golden(pairs: list[SyntheticPair]) -> None:
    """On a binary board most defective pixels differ, though golden and test are apart by a px."""
    bad = [pair for pair in pairs if pair.is_anomaly and pair.surface == "binary board"]
    differs = [float((pair.golden != pair.test).any(axis=2)[pair.mask].mean()) for pair in bad]
    assert np.median(differs) > 0.8
    assert min(differs) > 0.25


@pytest.mark.parametrize("surface", ["binary board", "colour board", "printed", "stamped part"])
def test_golden_is_the_test_without_its_defects(surface: str) -> None:
    """As drawn, before any nuisance, the two images differ inside the marks and nowhere else."""
    for seed in range(12):
        drawing = DRAW_SURFACE[surface](np.random.default_rng(seed), 244, 3)
        change = np.asarray(drawing.test, np.int16) - np.asarray(drawing.golden, np.int16)
        changed = np.abs(change.reshape(244, 244, -1)).max(axis=2) > 20
        marked = np.any([mark.mask for mark in drawing.marks], axis=0)
        assert not (changed & ~marked).any()


def test_good_binary_boards_differ_as_real_scans_do() -> None:
    """About 1 % of the pixels of two real scans differ outside the defects, and so here."""
    good = [pair for seed in range(240) if not (pair := _board(seed)).is_anomaly]
    differs = [float((pair.golden != pair.test).any(axis=2).mean()) for pair in good]
    assert 0.008 < np.mean(differs) < 0.025
    assert all(set(np.unique(pair.test)) <= {0, 255} for pair in good)


def test_good_pairs_are_not_equal_images(pairs: list[SyntheticPair]) -> None:
    same = [pair for pair in pairs if np.array_equal(pair.golden, pair.test)]
    assert len(same) <= 0.05 * len(pairs)  # an empty stretch of a binary board may be


def test_becomes_the_shared_record() -> None:
    pair = next(pair for seed in range(20) if (pair := _board(seed)).is_anomaly)
    labelled = pair.to_labelled()
    assert labelled.is_anomaly
    assert labelled.category == "binary board"
    assert labelled.labels == tuple(defect.label for defect in pair.defects)
    assert labelled.boxes == tuple(defect.bbox_2d for defect in pair.defects)
    assert labelled.test is pair.test


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seed": -1}, "must not be negative"),
        ({"seed": 0, "size": 64}, "size >= 112"),
        ({"seed": 0, "num_defects": (2, 1)}, "within 0 to 6, got 2 and 1"),
        ({"seed": 0, "surface": "cheese"}, "unknown surface 'cheese'; known are: binary board"),
    ],
)
def test_refuses_bad_arguments(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        generate_pair(**arguments)  # type: ignore[arg-type]


def test_a_sheet_has_a_cell_for_each_pair() -> None:
    sheet = draw_pairs((generate_pair(n, size=112).to_labelled() for n in range(5)), columns=2)
    assert sheet.mode == "RGB"
    assert sheet.size == (2 * 348, 3 * 130)


def _board(seed: int) -> SyntheticPair:
    return generate_pair(seed, surface="binary board")


@pytest.mark.parametrize("surface", ["brushed metal", "granular", "woven"])
def test_the_golden_does_not_tell_whether_the_test_is_good(surface: str) -> None:
    """Equal streams for the verdict and the drawing made goldens of good pairs brighter."""
    pairs = [generate_pair(seed, size=112, surface=surface) for seed in range(80)]
    is_bad = np.array([pair.is_anomaly for pair in pairs])
    red = np.array([pair.golden[:, :, 0].mean() for pair in pairs])
    # Of 80 fair draws the deviation of the area is 0.065; 0.25 is almost four of them.
    assert roc_auc(is_bad, red) == pytest.approx(0.5, abs=0.25)


def test_a_conveyor_brings_parts_of_one_layout_some_of_them_bad() -> None:
    conveyor = Conveyor(4, size=112, bad_share=0.5)
    parts = [conveyor.part(number) for number in range(12)]
    changed = [
        np.mean(np.any(part.image != conveyor.golden, axis=2)) for part in parts if not part.labels
    ]
    assert 0 < len(changed) < len(parts)
    assert max(changed) < 0.2  # ragged edges and a small shift, no other board
    assert all({*part.labels} <= {*DEFECT_LABELS} for part in parts)
    again = Conveyor(4, size=112, bad_share=0.5)
    assert np.array_equal(again.golden, conveyor.golden)
    assert np.array_equal(again.part(5).image, parts[5].image)
    assert not np.array_equal(parts[0].image, parts[1].image)
