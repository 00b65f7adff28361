"""Verdict states: the rule, the record, files that are damaged or of something else, roll-back."""

from __future__ import annotations

import json
import os

import pytest
from verdict_states import GOLDEN, make_state

from adcopilot_edge.errors import StateError
from adcopilot_edge.runtime.golden import pixel_hash
from adcopilot_edge.runtime.state_file import previous_path
from adcopilot_edge.runtime.verdict_rule import VerdictRule
from adcopilot_edge.runtime.verdict_store import (
    VERDICTS,
    VerdictStates,
    roll_back,
    state_path,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "verdicts" / "state.json"


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(0.0, "normal"), (0.25, "normal"), (0.2500001, "uncertain"), (0.75, "uncertain"),
     (0.7500001, "anomaly"), (1.0, "anomaly")],
)  # fmt: skip
def test_limits(score, verdict):
    assert make_state().rule.decide(score) == verdict


@pytest.mark.parametrize("threshold", [0.5, 0.3, 1e-9])
def test_the_rule_of_a_threshold_is_at_or_above(threshold):
    rule = VerdictRule.from_threshold(threshold)
    assert rule.decide(threshold) == "anomaly"
    assert rule.decide(threshold * (1 - 1e-12)) == "normal"
    assert rule.calibrate(0.123456789) == 0.123456789


def test_a_temperature_keeps_the_order_and_the_middle():
    rule = make_state().rule
    softer = [rule.calibrate(score) for score in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert softer == sorted(softer)
    assert softer[1] == pytest.approx(0.25)  # odds of 1 : 9 at temperature 2 are 1 : 3
    assert softer[2] == 0.5
    assert all(0 < score < 1 for score in softer)


def test_a_state_comes_back_as_it_was(path):
    state = make_state()
    VERDICTS.write(path, state)
    assert VERDICTS.read(path) == state
    assert VERDICTS.read(path).id == state.id
    assert make_state(temperature=2.1).id != state.id
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_state_before_comes_back_once(path):
    first, second, third = (make_state(temperature=value) for value in (1.0, 2.0, 3.0))
    for state in (first, second, third):
        VERDICTS.write(path, state)
    assert roll_back(path, bundle="b" * 16, golden_sha256=GOLDEN) == second
    assert VERDICTS.read(path) == second
    with pytest.raises(StateError, match=r"no state before .* remove that file"):
        roll_back(path, bundle="b" * 16, golden_sha256=GOLDEN)
    assert VERDICTS.read(path) == second


def test_a_damaged_state_is_replaced_but_never_kept(path):
    first, second = make_state(), make_state(temperature=3.0)
    VERDICTS.write(path, first)
    VERDICTS.write(path, second)
    path.write_text("{")
    VERDICTS.write(path, make_state(temperature=4.0))
    assert VERDICTS.read(previous_path(path)) == first
    path.write_text("")
    assert roll_back(path, bundle="b" * 16, golden_sha256=GOLDEN) == first


def test_a_damaged_state_before_changes_nothing(path):
    for temperature in (1.0, 2.0):
        VERDICTS.write(path, make_state(temperature=temperature))
    previous_path(path).write_text("[]")
    with pytest.raises(StateError, match="previous is no verdict state"):
        roll_back(path, bundle="b" * 16, golden_sha256=GOLDEN)
    assert VERDICTS.read(path).temperature == 2.0


DAMAGES = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[]",
    "null": lambda text: "null",
    "no id": lambda text: text.replace('"id"', '"ix"'),
    "another limit": lambda text: text.replace("0.75", "0.76"),
    "limits that cross": lambda text: text.replace("0.75", "0.15"),
    "no number": lambda text: text.replace("0.75", "NaN"),
    "another version": lambda text: text.replace('"version": 1', '"version": 2'),
    "an unknown field": lambda text: text.replace('"tile"', '"tiles"'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_an_error(path, damage):
    VERDICTS.write(path, make_state())
    content = path.read_text()
    assert DAMAGES[damage](content) != content
    path.write_text(DAMAGES[damage](content))
    with pytest.raises(StateError, match=r"verdict state.*[Cc]alibrate again"):
        VERDICTS.read(path)


def test_no_state_at_a_path(path, toy_bundle):
    with pytest.raises(StateError, match=r"can't be read: No such file.*adcopilot-edge calibrate"):
        VerdictStates(toy_bundle, "cpu", path)
    with pytest.raises(StateError, match="can't be read"):
        VerdictStates(toy_bundle, "cpu", path.parents[1])


def test_a_folder_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"can't write .* name another file with --state"):
        VERDICTS.write(tmp_path / "file" / "state.json", make_state())


def test_a_folder_is_tried_before_the_work(tmp_path):
    path = tmp_path / "not" / "yet" / "state.json"
    VERDICTS.check_writable(path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"can't write .*Not a directory"):
        VERDICTS.check_writable(tmp_path / "file" / "state.json")


def test_a_state_before_of_something_else_stays_where_it_is(path):
    for temperature in (1.0, 2.0):
        VERDICTS.write(path, make_state(temperature=temperature))
    with pytest.raises(StateError, match="was measured with the bundle bbbb"):
        roll_back(path, bundle="c" * 16, golden_sha256=GOLDEN)
    assert VERDICTS.read(path).temperature == 2.0
    assert previous_path(path).exists()


def test_a_crash_leaves_the_state_as_it_was(path, monkeypatch):
    VERDICTS.write(path, make_state())

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StateError, match="No space left"):
        VERDICTS.write(path, make_state(temperature=9.0))
    assert VERDICTS.read(path) == make_state()


def test_every_misfit_is_told():
    make_state().check_fits(bundle="b" * 16, golden_sha256=GOLDEN, provider="cpu", tile=False)
    with pytest.raises(StateError) as caught:
        make_state().check_fits(
            bundle="c" * 16, golden_sha256="cd" * 32, provider="cuda", tile=True
        )
    for words in ("bundle bbbb", "golden image", "on cpu, this is cuda", "in tiles", "--uncal"):
        assert words in str(caught.value)


def test_states_beside_a_bundle(damaged_bundle, image_pair):
    from adcopilot_edge.bundle import open_bundle

    bundle = open_bundle(damaged_bundle)
    golden, other = map(pixel_hash, image_pair)
    assert VerdictStates(bundle, "cpu").is_empty
    state = make_state(bundle=bundle.id, golden_sha256=golden)
    VERDICTS.write(state_path(bundle, golden), state)
    states = VerdictStates(bundle, "cpu")
    assert not states.is_empty
    assert states.find(golden, tile=False) == state
    assert states.find(other, tile=False) is None
    with pytest.raises(StateError, match="as a whole, this is in tiles"):
        states.find(golden, tile=True)
    path = state_path(bundle, other)
    path.write_bytes(state_path(bundle, golden).read_bytes())
    with pytest.raises(StateError, match="of the golden image with pixels"):
        VerdictStates(bundle, "cpu").find(other, tile=False)
    assert open_bundle(damaged_bundle).id == bundle.id
    assert json.loads(path.read_text())["id"] == state.id
