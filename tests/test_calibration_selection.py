"""Which pairs are chosen to stand for all, and what is refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from adcopilot_edge.calibration.noise import is_noise
from adcopilot_edge.calibration.selection import Candidate, select_candidates
from adcopilot_edge.errors import DatasetError, TooFewSamplesError
from adcopilot_edge.types import ImageArray, LabelledPair

SIDE = 16
GOLDEN = np.repeat(np.arange(SIDE, dtype=np.uint8)[:, None, None] * 8, SIDE, 1).repeat(3, 2)


def candidate(category: str, index: int, *, is_anomaly: bool) -> Candidate:
    """A pair whose mean difference grows with ``index``."""
    test = GOLDEN + np.uint8(index + 1) + np.uint8(60 * is_anomaly)
    pair = LabelledPair(name=f"{category}{index}", category=category, golden=GOLDEN, test=test)
    return Candidate(category, is_anomaly, lambda: pair)


def shelf(**counts: tuple[int, int]) -> list[Candidate]:
    """Good and defective pairs by category."""
    return [
        candidate(category, index, is_anomaly=is_anomaly)
        for category, both in counts.items()
        for is_anomaly, count in zip((False, True), both, strict=True)
        for index in range(count)
    ]


def names(candidates: list[Candidate]) -> list[str]:
    return [f"{one.open().name}{'!' if one.is_anomaly else ''}" for one in candidates]


def test_every_category_kind_and_third_has_its_share() -> None:
    candidates = shelf(bolt=(30, 9), nut=(12, 3))
    chosen, coverage = select_candidates("shelf", candidates, count=12, seed=0)
    assert Counter((one.category, one.is_anomaly) for one in chosen) == {
        ("bolt", False): 3,
        ("bolt", True): 3,
        ("nut", False): 3,
        ("nut", True): 3,
    }
    assert [stratum.num_chosen for stratum in coverage.strata] == [1] * 12
    assert sum(stratum.num_seen for stratum in coverage.strata) == coverage.num_seen
    # Nuts look like bolts here.
    assert (coverage.num_seen, coverage.num_duplicates) == (39, 15)


def test_thirds_are_by_difference() -> None:
    candidates = shelf(bolt=(9, 0))
    chosen, coverage = select_candidates("shelf", candidates, count=3, seed=0)
    thirds = sorted(int(one.open().name.removeprefix("bolt")) // 3 for one in chosen)
    assert thirds == [0, 1, 2]
    assert [(s.kind, s.difference, s.num_seen) for s in coverage.strata] == [
        ("good", "low", 3),
        ("good", "middle", 3),
        ("good", "high", 3),
    ]


def test_a_small_stratum_gives_all_it_has() -> None:
    chosen, _ = select_candidates("shelf", shelf(bolt=(20, 1)), count=10, seed=0)
    assert Counter(one.is_anomaly for one in chosen) == {False: 9, True: 1}


def test_the_seed_decides() -> None:
    candidates = shelf(bolt=(30, 30))
    runs = [names(select_candidates("shelf", candidates, count=8, seed=s)[0]) for s in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_a_large_data_set_is_not_read_whole() -> None:
    chosen, coverage = select_candidates("shelf", shelf(bolt=(100, 100)), count=2, seed=0)
    assert len(chosen) == 2
    assert (coverage.num_candidates, coverage.num_seen) == (200, 16)


def test_equal_pixels_count_once() -> None:
    candidates = shelf(bolt=(4, 0)) + shelf(nut=(2, 0))
    _, coverage = select_candidates("shelf", candidates, count=4, seed=0)
    assert (coverage.num_seen, coverage.num_duplicates) == (4, 2)


def test_what_is_lacking_is_told_by_stratum() -> None:
    with pytest.raises(TooFewSamplesError) as caught:
        select_candidates("shelf", shelf(bolt=(2, 1), nut=(0, 3)), count=9, seed=0)
    assert "shelf has 5 different pairs, 9 are needed" in str(caught.value)
    assert "bolt good 2, bolt defective 1, nut defective 2" in str(caught.value)
    assert "1 more have the pixels of another" in str(caught.value)
    with pytest.raises(TooFewSamplesError, match=r"0 different pairs, 1 are needed \(none\)"):
        select_candidates("shelf", [], count=1, seed=0)


def noise(rng: np.random.Generator, side: int = 56) -> ImageArray:
    return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_random_data_is_refused_by_name(rng: np.random.Generator) -> None:
    test = noise(rng)
    pair = LabelledPair(name="static", category="bolt", golden=np.full_like(test, 9), test=test)
    candidates = [*shelf(bolt=(3, 0)), Candidate("bolt", False, lambda: pair)]
    with pytest.raises(DatasetError, match=r"1 of 4 pairs of shelf are random noise.*: static"):
        select_candidates("shelf", candidates, count=2, seed=0)


def test_what_is_noise(rng: np.random.Generator) -> None:
    assert is_noise(noise(rng))
    assert is_noise(rng.normal(128, 20, (56, 56, 3)).astype(np.uint8))
    assert not is_noise(GOLDEN)
    assert not is_noise(np.full((56, 56, 3), 200, np.uint8))
    assert not is_noise(np.zeros((1, 1, 3), np.uint8))
    # A part under a noisy camera still has a shape.
    shaped = np.clip(GOLDEN.astype(float) + rng.normal(0, 20, GOLDEN.shape), 0, 255)
    assert not is_noise(shaped.astype(np.uint8))
