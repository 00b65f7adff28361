"""``adcopilot-edge gate`` as a script meets it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

import adcopilot_edge
from adcopilot_edge.calibration.gates import Check, GateReport

NANO = Path(adcopilot_edge.__file__).parent / "assets" / "nano"


@pytest.fixture
def call(cli):
    """Run ``gate``; returns exit code, stdout and stderr."""
    return partial(cli, "gate")


def test_a_bundle_is_admitted_against_itself(call, shared_data: Path) -> None:
    words = ["--data", shared_data / "deeppcb", "--pairs", 100]
    code, out, err = call(NANO, NANO, *words, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["passed"], report["pairs"]) == (True, 100)
    assert {check["value"] for check in report["checks"]} == {0}
    categories = {check["category"] for check in report["checks"]}
    assert len(categories) > 2  # the boards, each judged for itself


def test_a_refusal_has_its_own_code(
    call, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Check(
        name="verdict flips", category=None, value=0.2, low=0.1, high=0.3, limit=0.005, judged=0.2
    )
    report = GateReport("int8", "fp32", 100, (check,))
    monkeypatch.setattr("adcopilot_edge.calibration.gates.judge", lambda *_, **__: report)
    words = [NANO, NANO, "--data", shared_data / "deeppcb", "--pairs", 2]
    code, out, _ = call(*words)
    assert code == 8
    assert "REFUSED: verdict flips" in out
    code, out, _ = call(*words, "--json")
    assert (code, json.loads(out)["passed"]) == (8, False)


def test_too_few_pairs(call, shared_data: Path) -> None:
    code, out, err = call(NANO, NANO, "--data", shared_data / "deeppcb", "--pairs", 10)
    assert (code, out) == (5, "")
    assert "at least 100 pairs" in err


def test_bundles_of_two_sizes(call, toy_bundle, tmp_path: Path) -> None:
    code, _, err = call(NANO, toy_bundle.path, "--data", tmp_path)
    assert code == 2
    assert "images of 56x84 and 224x224" in err
