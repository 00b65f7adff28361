"""``adcopilot-edge gate`` as a script meets it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from cookies import write_cookie_list
from grey_line import calibrated, write_line

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.calibration.gates import GateReport
from adcopilot_edge.calibration.held_out import read_held_out
from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.gate_record import Gate, GateCheck

NANO = embedded_bundle()


@pytest.fixture
def call(cli):
    """Run ``gate``; returns exit code, stdout and stderr."""
    return partial(cli, "gate", "--threads", 1)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Limits that are content with few pairs."""
    file = tmp_path / "few.toml"
    file.write_text("min_pairs = 4\n")
    return file


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """Good and bad parts, which differ so that the toy bundle calls all of them anomalies."""
    return write_line(tmp_path / "line", num_good=4, num_bad=4)


def test_a_bundle_is_admitted_against_itself(call, shared_data: Path, few: Path) -> None:
    words = ["--data", shared_data / "deeppcb", "--pairs", 28, "--answers", 2, "--limits", few]
    code, out, err = call(NANO, NANO, *words, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["passed"], report["pairs"]) == (True, 28)
    assert (report["num_good"], report["num_bad"], report["num_answers"]) == (14, 14, 2)
    values = {check["name"]: check["value"] for check in report["checks"]}
    assert values.pop("answer agreement") == 1
    assert set(values.values()) == {0}
    categories = {check["category"] for check in report["checks"]}
    assert len(categories) > 2  # the boards, each judged for itself


def test_a_refusal_has_its_own_code(
    call, toy_bundle: Bundle, line: Path, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flips = GateCheck(name="verdict flips", limit=0.005, value=0.2, low=0.1, high=0.3)
    shown = flips.model_copy(update={"category": "east", "limit": None})
    changes = {"name": "escapes rise", "category": "east", "limit": 0, "rule": "low <= limit"}
    gate = Gate(
        data="parts",
        sha256="0" * 64,
        num_good=50,
        num_bad=50,
        num_placed=0,
        num_answers=0,
        reference_bundle="abc",
        reference_precision="vision-fp32",
        reference_figures={"balanced accuracy": 0.75},
        seed=1,
        limits={},
        checks=(flips, shown, flips.model_copy(update=changes)),
    )
    report = GateReport(candidate="int8", reference="fp32", gate=gate)
    monkeypatch.setattr("adcopilot_edge.calibration.gate_run.judge", lambda *_, **__: report)
    words = [toy_bundle.path, toy_bundle.path, "--data", line, "--limits", few, "--answers", 0]
    code, out, _ = call(*words)
    assert code == 8
    assert "REFUSED: verdict flips, escapes rise of east" in out
    assert "balanced accuracy 0.7500" in out
    assert "value <= 0.005" in out
    assert "+0.2000 [+0.1000, +0.3000] FAILED" in out
    assert "not judged: of no bad pair" in out
    code, out, _ = call(*words, "--json")
    assert (code, json.loads(out)["passed"]) == (8, False)


def test_too_few_pairs(call, toy_bundle: Bundle, line: Path) -> None:
    code, out, err = call(toy_bundle.path, toy_bundle.path, "--data", line)
    assert (code, out) == (5, "")
    assert "at least 100 pairs" in err


def test_bundles_of_two_sizes(call, toy_bundle: Bundle, tmp_path: Path) -> None:
    code, _, err = call(NANO, toy_bundle.path, "--data", tmp_path)
    assert code == 2
    assert "images of 56x84 and 224x224" in err


def test_parts_of_two_lines(call, toy_bundle: Bundle, line: Path, few: Path) -> None:
    other = write_line(line.parent / "other", num_good=3, num_bad=2, first=100)
    words = [toy_bundle.path, toy_bundle.path, "--data", line, "--data", other, "--limits", few]
    code, out, err = call(*words, "--pairs", 6, "--answers", 2)
    assert code == 0, err
    assert "6 good and 5 bad" in out
    assert "line: 6 of 8 pairs, other: 5 of 5 pairs" in out
    assert "  other " in out
    code, out, err = call(*words, "--pairs", 6, "--answers", 2, "--json")
    report = json.loads(out)
    assert {check["category"] for check in report["checks"]} == {None, "line", "other"}
    assert report["limits"]["min_pairs"] == 4
    assert report["repeated_pictures"] == 0


def test_pairs_of_the_calibration_are_refused(
    call, toy_bundle: Bundle, damaged_bundle: Path, line: Path, few: Path
) -> None:
    known = list(read_held_out([line], count=8, tile=56).pairs)[:3]
    calibrated(damaged_bundle, known)
    words = ["--data", line, "--limits", few]
    code, _, err = call(damaged_bundle, toy_bundle.path, *words)
    assert code == 5
    assert "3 of the 8 held-out pairs were used to calibrate" in err
    code, _, err = call(toy_bundle.path, damaged_bundle, *words)
    assert code == 0, err  # what the float bundle saw is no matter


def test_cookies(call, toy_bundle: Bundle, shared_data: Path, few: Path, tmp_path: Path) -> None:
    if not (shared_data / "cookie").is_dir():
        pytest.skip(f"the cookies are not on this machine: no folder {shared_data / 'cookie'}")
    cookies = write_cookie_list(shared_data / "cookie", tmp_path / "cookies.jsonl")
    words = ["--data", cookies, "--limits", few, "--answers", 0, "--json"]
    code, out, err = call(toy_bundle.path, toy_bundle.path, *words)
    assert code == 0, err
    report = json.loads(out)
    counts = [report[key] for key in ("num_good", "num_bad", "num_placed")]
    assert counts == [30, 32, 32]
    assert report["data"] == "cookies: 62 of 62 pairs"
