"""The table of ranges: widened, bounded, written and read."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from adcopilot_edge.calibration.clipping import Clip
from adcopilot_edge.calibration.ranges import Ranges, read_ranges, write_ranges
from adcopilot_edge.errors import CalibrationError

TABLE = '{"pairs": "boards", "num_pairs": 1, "ranges": {"a": %s}}'
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


def test_levels_may_end_before_the_range(tmp_path: Path) -> None:
    clips = {"a": Clip(1.5, "entropy"), "b": Clip(4, "min-max", "mse would clip channel 3")}
    ranges = Ranges("boards", 1, {"a": (-3, 2), "b": (-1, 4), "c": (0, 2)}, clips)
    assert [ranges.level_bound(name) for name in "abc"] == [1.5, 4, 2]
    assert ranges.bound("a") == 3  # what float16 must hold
    path = tmp_path / "ranges.json"
    write_ranges(path, ranges)
    assert read_ranges(path) == ranges
    assert path.read_text().splitlines()[3:-1] == [
        ' "ranges": {',
        '  "a": {"min": -3, "max": 2, "bound": 1.5, "method": "entropy"},',
        '  "b": {"min": -1, "max": 4, "bound": 4, "method": "min-max", '
        '"reason": "mse would clip channel 3"},',
        '  "c": {"min": 0, "max": 2, "bound": 2, "method": "min-max"}',
        " }",
    ]


@pytest.mark.parametrize("bound", [0, 3.1, math.nan, -1])
def test_levels_that_end_nowhere(bound: float) -> None:
    with pytest.raises(CalibrationError, match=r"these do not: a\."):
        Ranges("boards", 1, {"a": (-3, 2)}, {"a": Clip(bound, "mse")})


def test_ranges_without_width_are_told_by_name() -> None:
    ranges = Ranges("boards", 1, {"a": (-3, 2), "b": (0, 0), "c": (4, 4)})
    ranges.require_width(["a"])
    with pytest.raises(CalibrationError, match=r"one value throughout: b \(0\), c \(4\)\. Check"):
        ranges.require_width("abc")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"pairs": "boards", "num_pairs": 1, "ranges": []}',
        '{"pairs": "boards", "num_pairs": 1, "ranges": {"a": [1, 2]}}',
        '{"pairs": "boards", "num_pairs": "x", "ranges": {}}',
        TABLE % '{"min": 0, "max": 1, "bound": 1}',
        TABLE % '{"min": 0, "max": 1, "bound": 1, "method": "guess"}',
        TABLE % '{"min": NaN, "max": 1, "bound": 1, "method": "min-max"}',
        TABLE % '{"min": 0, "max": 1, "bound": 2, "method": "mse"}',
        TABLE % '{"min": 0, "max": 1, "bound": 0, "method": "mse"}',
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
