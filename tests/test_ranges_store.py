"""Measured ranges on disk: read, written, brought back, never passed over when damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from static_ranges import make_ranges

from adcopilot_edge.bundle import Bundle, open_bundle
from adcopilot_edge.errors import StateError
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.ranges_store import (
    previous_file,
    ranges_before,
    read_ranges,
    roll_back_ranges,
    state_file,
    write_ranges,
)

pytestmark = pytest.mark.torch


@pytest.fixture
def bundle(static_bundle: Bundle, tmp_path: Path) -> Path:
    """The folder of a static bundle that a test may change."""
    return Path(shutil.copytree(static_bundle.path, tmp_path / "bundle"))


def test_a_state_comes_back_as_it_was(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert read_ranges(opened) is None
    with pytest.raises(StateError, match="own are in use already"):
        ranges_before(opened)
    first = make_ranges(opened)
    write_ranges(opened, first)
    assert read_ranges(opened) == first
    assert open_bundle(bundle).id == opened.id  # hashes too
    second = make_ranges(opened, 4.0, replaces=first.id)
    write_ranges(opened, second)
    assert roll_back_ranges(opened) == first == read_ranges(opened)
    assert roll_back_ranges(opened) is None
    assert read_ranges(opened) is None
    assert first.id != second.id


def test_a_step_further_back_than_what_is_kept(bundle: Path) -> None:
    opened = open_bundle(bundle)
    states = [make_ranges(opened, 3.0 + index, replaces="f" * 16) for index in range(2)]
    write_ranges(opened, states[0])
    with pytest.raises(StateError, match=r"no ranges before .* remove that file"):
        roll_back_ranges(opened)
    write_ranges(opened, states[1])
    with pytest.raises(StateError, match="those in use replaced ffff"):
        roll_back_ranges(opened)
    assert read_ranges(opened) == states[1]


DAMAGES = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[]",
    "another range": lambda text: text.replace("3.0", "3.5"),
    "no width": lambda text: text.replace("3.0", "-1.0"),
    "no number": lambda text: text.replace("3.0", "NaN"),
    "an unknown field": lambda text: text.replace('"num_good"', '"num_goods"'),
    "another graph": lambda text: text.replace('"vision"', '"sight"'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_never_passed_over(bundle: Path, damage: str) -> None:
    opened = open_bundle(bundle)
    path = write_ranges(opened, make_ranges(opened))
    content = path.read_text()
    assert DAMAGES[damage](content) != content
    path.write_text(DAMAGES[damage](content))
    with pytest.raises(StateError, match=r"ranges.*--ranges --roll-back"):
        Inspector.open(bundle, num_threads=1)
    assert Inspector.open(bundle, num_threads=1, calibrated=False).engine.ranges is None


def test_a_damaged_state_is_replaced_by_the_one_before(bundle: Path) -> None:
    opened = open_bundle(bundle)
    first = make_ranges(opened)
    write_ranges(opened, first)
    write_ranges(opened, make_ranges(opened, 4.0, replaces=first.id))
    state_file(opened).write_text("{")
    assert roll_back_ranges(opened) == first
    write_ranges(opened, make_ranges(opened, 4.0, replaces=first.id))
    previous_file(opened).write_text("{")
    with pytest.raises(StateError, match="previous is no ranges state"):
        roll_back_ranges(opened)


def test_a_state_of_another_bundle(bundle: Path) -> None:
    opened = open_bundle(bundle)
    write_ranges(opened, make_ranges(opened, bundle="c" * 16))
    with pytest.raises(StateError, match=r"measured with the bundle cccc.*calibrate --ranges"):
        Inspector.open(bundle, num_threads=1)
