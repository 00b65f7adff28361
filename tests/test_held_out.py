"""Held-out pairs of a gate: read from several sources, none twice, none that was learned from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from grey_line import calibrated, put, write_line
from PIL import Image

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.calibration.held_out import (
    HeldOut,
    check_unseen,
    read_held_out,
    take_both_kinds,
)
from adcopilot_edge.calibration.record import RECORD_FILE
from adcopilot_edge.errors import DatasetError
from adcopilot_edge.types import LabelledPair


def kinds(pairs: HeldOut) -> Counter[tuple[str, bool]]:
    return Counter((truth.category, truth.is_anomaly) for truth in pairs.truths)


def test_half_of_the_pairs_are_bad_where_there_are_as_many(tmp_path: Path) -> None:
    line = write_line(tmp_path / "line", num_good=10, num_bad=6)
    assert kinds(read_held_out([line], count=8, tile=56)) == {("line", False): 4, ("line", True): 4}
    assert kinds(read_held_out([line], count=14, tile=56)) == {
        ("line", False): 8,
        ("line", True): 6,
    }
    whole = read_held_out([line], count=100, tile=56)
    assert (len(whole.truths), whole.num_bad, whole.num_placed) == (16, 6, 0)
    assert whole.name == "line: 16 of 16 pairs"


def test_the_seed_says_which(tmp_path: Path) -> None:
    line = write_line(tmp_path / "line", num_good=10, num_bad=10)
    one, same, other = (read_held_out([line], count=6, tile=56, seed=seed) for seed in (1, 1, 2))
    assert one.sha256 == same.sha256 != other.sha256
    assert [pair.name for pair in one.pairs] == [truth.name for truth in one.truths]


def test_categories_of_several_sources_stay_apart(tmp_path: Path) -> None:
    east = write_line(tmp_path / "east" / "line", num_good=2, num_bad=2)
    west = write_line(tmp_path / "west" / "line", num_good=2, num_bad=2, first=50)
    put(tmp_path / "lids" / "a.png", 100)
    lines = [{"golden": "a.png", "test": "../east/line/golden/golden.png", "category": "lid"}]
    (tmp_path / "lids" / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pairs = read_held_out([east, west, tmp_path / "lids" / "pairs.jsonl"], count=3, tile=56)
    assert kinds(pairs) == {
        ("line", False): 2,
        ("line", True): 1,
        ("line#2/line", False): 2,
        ("line#2/line", True): 1,
        ("lids/lid", False): 1,
    }
    assert pairs.name == "line: 3 of 4 pairs, line#2: 3 of 4 pairs, lids: 1 of 1 pairs"


def test_pixels_count_once(tmp_path: Path) -> None:
    line = write_line(tmp_path / "line", num_good=3, num_bad=3)
    put(line / "good" / "again.png", 0)
    pairs = read_held_out([line, line], count=100, tile=56)
    assert (len(pairs.truths), len(pairs.pairs), pairs.num_repeated) == (6, 6, 8)


def test_a_part_that_is_good_and_bad(tmp_path: Path) -> None:
    line = write_line(tmp_path / "line", num_good=3, num_bad=3)
    put(line / "bad" / "again.png", 0)
    with pytest.raises(DatasetError, match=r"png and .*png have the same pixels, but one is said"):
        read_held_out([line], count=100, tile=56)


def test_a_part_of_another_size(tmp_path: Path) -> None:
    line = write_line(tmp_path / "line", num_good=3, num_bad=3)
    Image.new("RGB", (42, 28)).save(line / "good" / "small.png")
    with pytest.raises(DatasetError, match=r"small\.png has 42x28 pixels, its golden image 84x56"):
        read_held_out([line], count=100, tile=56)


def test_the_hash_is_of_pixels_and_labels_and_of_no_path(tmp_path: Path) -> None:
    one = write_line(tmp_path / "one" / "line", num_good=2, num_bad=1)
    same = write_line(tmp_path / "two" / "line", num_good=2, num_bad=1)
    other = write_line(tmp_path / "three" / "line", num_good=1, num_bad=2)
    hashes = [read_held_out([root], count=9, tile=56).sha256 for root in (one, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_place_is_known_or_not(tmp_path: Path) -> None:
    for value in range(5):
        put(tmp_path / f"{value}.png", value)
    lines = [
        {"golden": "0.png", "test": "1.png"},
        {"golden": "0.png", "test": "2.png", "label": "dent"},
        {"golden": "0.png", "test": "3.png", "boxes": [[1, 2, 30, 40]], "label": "dent"},
        {"golden": "0.png", "test": "4.png", "mask": "4.png"},
    ]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pairs = read_held_out([tmp_path / "list.jsonl"], count=9, tile=56)
    known = {truth.name: (truth.is_anomaly, truth.boxes) for truth in pairs.truths}
    assert known == {
        "1.png": (False, ()),
        "2.png": (True, ()),
        "3.png": (True, ((1.0, 2.0, 30.0, 40.0),)),
        "4.png": (True, ((0.0, 0.0, 84.0, 56.0),)),
    }


@pytest.mark.parametrize(
    ("count", "chosen"), [(2, [0, 2]), (3, [0, 2, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3, 4])]
)
def test_the_first_of_both_kinds(count: int, chosen: list[int]) -> None:
    assert take_both_kinds([True, True, False, False, False], count) == chosen


def test_pairs_that_were_learned_from_are_refused(
    toy_bundle: Bundle, damaged_bundle: Path, tmp_path: Path
) -> None:
    line = write_line(tmp_path / "line", num_good=20, num_bad=20)
    pairs = read_held_out([line], count=40, tile=56)
    bundle = calibrated(damaged_bundle, list(pairs.pairs)[:10])
    with pytest.raises(DatasetError, match=r"10 of the 40 held-out pairs were used .* and 2 more"):
        check_unseen(pairs, bundle)
    rest = HeldOut.of("the rest", list(pairs.pairs)[10:])
    check_unseen(rest, bundle)
    check_unseen(pairs, toy_bundle)  # has no record


def test_a_record_that_is_none(damaged_bundle: Path, tmp_path: Path) -> None:
    image = np.zeros((28, 28, 3), np.uint8)
    pair = LabelledPair(name="a", category="b", golden=image, test=image)
    bundle = calibrated(damaged_bundle, [pair])
    bundle.file(RECORD_FILE).write_text('{"pairs": [1]}')
    with pytest.raises(DatasetError, match="is no record of calibration pairs"):
        check_unseen(HeldOut.of("one", [pair]), bundle)


def test_tiles_of_circuit_boards(shared_data: Path) -> None:
    pairs = read_held_out([shared_data / "deeppcb"], count=40, tile=448, seed=1)
    assert pairs.name == "deeppcb: 40 tiles of 336 pixels"
    assert (len(pairs.truths), pairs.num_bad, pairs.num_placed) == (40, 20, 20)
    assert pairs.num_repeated == 0
    assert {truth.size for truth in pairs.truths} == {(336, 336)}
