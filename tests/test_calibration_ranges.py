"""The table of ranges: widened, bounded, written and read."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from adcopilot_edge.calibration.ranges import Ranges, read_ranges, write_ranges
from adcopilot_edge.errors import CalibrationError

NOTHING = Ranges("boards", 0, {})


def test_each_pair_widens_the_ranges() -> None:
    first = NOTHING.with_pair([{"a": (-1, 2)}, {"a": (-3, 1), "b": (0, 0)}])
    assert (first.num_pairs, first.table) == (1, {"a": (-3, 2), "b": (0, 0)})
    second = first.with_pair([{"a": (-2, 5), "c": (7, 8)}])
    assert (second.num_pairs, second.table) == (2, {"a": (-3, 5), "b": (0, 0), "c": (7, 8)})
    assert NOTHING.table == {}


@pytest.mark.parametrize("edges", [(math.nan, 1), (0, math.nan), (-math.inf, 1), (0, math.inf)])
@pytest.mark.parametrize("before", [{}, {"a": (-1.0, 1.0)}])
def test_what_is_not_finite_is_told_by_name(edges, before) -> None:
    with pytest.raises(CalibrationError, match=r"these are not: a\. .+ on boards"):
        Ranges("boards", 1, before).with_pair([{"a": edges, "b": (0, 1)}])


def test_edges_the_wrong_way_round() -> None:
    with pytest.raises(CalibrationError, match="these are not: a, c"):
        Ranges("boards", 1, {"c": (1, 0), "b": (0, 0), "a": (2, -2)})


def test_the_bound_is_the_largest_magnitude() -> None:
    ranges = Ranges("boards", 1, {"a": (-3, 2), "b": (-1, 4), "c": (1, 2), "d": (-2, -1)})
    assert [ranges.bound(name) for name in "abcd"] == [3, 4, 2, 2]
    with pytest.raises(CalibrationError, match=r"no range of e is known\. Calibrate again"):
        ranges.bound("e")


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    ranges = Ranges("8 pairs of boards", 8, {"b": (-0.1, 1e30), "a": (1 / 3, 2.5)})
    path = tmp_path / "ranges.json"
    write_ranges(path, ranges)
    assert read_ranges(path) == ranges
    assert list(json.loads(path.read_text())["ranges"]) == ["a", "b"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"pairs": "boards", "num_pairs": 1, "ranges": []}',
        '{"pairs": "boards", "num_pairs": 1, "ranges": {"a": [1]}}',
        '{"pairs": "boards", "num_pairs": "x", "ranges": {}}',
        '{"pairs": "boards", "num_pairs": 1, "ranges": {"a": [NaN, 1]}}',
    ],
)
def test_what_is_no_table(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ranges.json"
    path.write_text(content)
    with pytest.raises(CalibrationError):
        read_ranges(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"is no table of ranges: .+ Calibrate again"):
        read_ranges(tmp_path / "nowhere.json")
