"""Ranges measured anew on a device: sessions that go by them, the gate, both states, roll-back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from line import assert_fails, inspect, noisy_line
from static_ranges import NAME

from adcopilot_edge.bundle import Bundle, open_bundle
from adcopilot_edge.calibration import recalibration
from adcopilot_edge.calibration.parts import read_parts
from adcopilot_edge.calibration.ranges_gate import RangesReport
from adcopilot_edge.errors import StateError
from adcopilot_edge.manifest import StageParity
from adcopilot_edge.runtime.ranges_store import (
    read_ranges,
)
from adcopilot_edge.runtime.state_file import StateKind
from adcopilot_edge.runtime.verify import verify_bundle

pytestmark = pytest.mark.torch

NUM_GOOD = 38  # half of them is the least for a share of 0.05
OPTIONS = ("--max-overkill", "0.05", "--max-review", "0.3", "--threads", "1")


@pytest.fixture
def bundle(static_bundle: Bundle, tmp_path: Path) -> Path:
    """The folder of a static bundle that a test may change."""
    return Path(shutil.copytree(static_bundle.path, tmp_path / "bundle"))


@pytest.fixture
def line(tmp_path, image_pair, rng):
    return noisy_line(tmp_path / "line", image_pair, rng, num_good=NUM_GOOD, step=1 / 8, num_bad=3)


@pytest.fixture
def words(bundle, line):
    folders = ("--golden", line / "golden.png", "--good", line / "good")
    return ["calibrate", bundle, *folders, *OPTIONS, "--ranges"]


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that lets all through: random weights make verdicts near a limit a coin's toss."""
    monkeypatch.setattr(RangesReport, "failures", ())


def both(call, words, *more: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run of ``words``: the verdict state and the ranges state as it printed them."""
    code, out, err = call(*words, *more, "--json")
    assert code == 0, err
    record = json.loads(out)
    return record, record["ranges_state"]


def test_halves_depend_on_pixels_alone(line: Path, image_pair) -> None:
    def halves():
        parts = read_parts(image_pair[0], line / "good", line / "bad", on_step=lambda *_: None)
        return parts.halves()

    first, second = halves()
    assert (len(first.good), len(second.good)) == (19, 19)
    assert not {*first.good} & {*second.good}
    assert (first.bad, len(second.bad)) == ((), 3)
    for index, path in enumerate(sorted((line / "good").iterdir(), reverse=True)):
        path.rename(path.with_name(f"x{index}.png"))
    again = halves()
    assert [one.good_sha256 for one in again] == [first.good_sha256, second.good_sha256]


def test_both_states_are_stored_and_gone_by(cli, words, bundle, line) -> None:
    opened = open_bundle(bundle)
    code, before = inspect(cli, bundle, line / "golden.png", line / "good" / "00.png")
    verdicts, ranges = both(cli, words, "--bad", line / "bad")
    stored = read_ranges(opened)
    assert stored is not None
    assert stored.id == ranges["id"] == verdicts["ranges"]
    assert (ranges["num_good"], ranges["replaces"]) == (19, None)
    assert (verdicts["good"]["num"], verdicts["bad"]["num"]) == (19, 3)
    assert verdicts["good"]["sha256"] != ranges["good_sha256"]
    assert {*ranges["layers"]} == {"vision", "comparison"}
    assert sum(map(len, ranges["layers"].values())) == 3 * 4 + 15
    gate = ranges["gate"]
    assert (gate["num_good"], gate["num_bad"], gate["rule"]) == (19, 3, None)
    assert gate["parity"][-1] == "verdict"
    code, found = inspect(cli, bundle, line / "golden.png", line / "good" / "00.png")
    assert code == 0
    assert found["calibration"] == verdicts["id"]
    assert f"ranges:{ranges['id']}" in found["notes"]
    assert "ranges:" not in str(before["notes"])
    options = ("--uncalibrated",)
    _, plain = inspect(cli, bundle, line / "golden.png", line / "good" / "00.png", *options)
    assert (plain["anomaly_score"], plain["notes"]) == (before["anomaly_score"], before["notes"])
    report = verify_bundle(bundle, num_threads=1)
    assert (report.first_failure, report.ranges) == (None, ranges["id"])


def test_with_a_cascade_of_the_half_that_gave_no_ranges(cli, words, line) -> None:
    options = ("--bad", line / "bad", "--cascade", "--max-asked", "0.2")
    verdicts, _ = both(cli, words, *options)
    assert verdicts["good"]["num"] == 19
    assert verdicts["cascade"]["good_passing"] >= 16  # all but (19 + 1) * 0.2 - 1
    assert verdicts["cascade"]["bad_passing"] <= verdicts["cascade"]["escapes"] <= 3


def test_for_people(cli, words) -> None:
    code, out, err = cli(*words)
    assert code == 0
    for name in ("ranges ", "measured ", "gate ", "stored pair ", "state ", "anomaly "):
        assert f"\n{name}" in f"\n{out}"
    assert "ranges 1/38" in err
    assert "good before 1/19" in err


@pytest.mark.usefixtures("lenient")
def test_a_second_time_and_back(cli, words, bundle, line) -> None:
    opened = open_bundle(bundle)
    back = ["calibrate", bundle, "--golden", line / "golden.png", "--ranges", "--roll-back"]
    verdicts, ranges = both(cli, words)
    others, second = both(cli, words, "--max-review", "0.5")
    assert second["replaces"] == ranges["id"]
    assert second["gate"]["rule"] == verdicts["id"]
    assert others["ranges"] == second["id"] != ranges["id"]
    alone = [word for word in back if word != "--ranges"]
    assert_fails(cli, alone, code=5, kind="StateError", message="was measured under the ranges")
    code, out, _ = cli(*back, "--json")
    assert code == 0
    assert json.loads(out) == {
        "bundle": opened.id,
        "ranges": ranges["id"],
        "verdicts": verdicts["id"],
    }
    found = inspect(cli, bundle, line / "golden.png", line / "good" / "00.png")[1]
    assert found["calibration"] == verdicts["id"]
    assert f"ranges:{ranges['id']}" in found["notes"]
    code, out, _ = cli(*back, "--json")
    assert (code, json.loads(out)["ranges"], json.loads(out)["verdicts"]) == (0, None, None)
    found = inspect(cli, bundle, line / "golden.png", line / "good" / "00.png")[1]
    assert found["calibration"] is None
    assert "ranges:" not in str(found["notes"])
    assert_fails(cli, back, code=5, kind="StateError", message="own are in use already")


@pytest.mark.usefixtures("lenient")
def test_verdicts_before_come_back_with_the_bundles_own_ranges(cli, words, bundle, line) -> None:
    plain = [word for word in words if word != "--ranges"]
    first = json.loads(cli(*plain, "--json")[1])
    assert first["ranges"] is None
    both(cli, words)
    back = ["calibrate", bundle, "--golden", line / "golden.png", "--ranges", "--roll-back"]
    assert json.loads(cli(*back, "--json")[1])["verdicts"] == first["id"]
    found = inspect(cli, bundle, line / "golden.png", line / "good" / "00.png")[1]
    assert found["calibration"] == first["id"]
    assert "ranges:" not in str(found["notes"])


@pytest.mark.usefixtures("lenient")
def test_a_crash_between_the_two_files_is_loud(cli, words, bundle, line, monkeypatch) -> None:
    plain = [word for word in words if word != "--ranges"]
    first = json.loads(cli(*plain, "--json")[1])

    write = StateKind.write

    def fail(kind: StateKind[Any], path: Path, state: Any) -> None:
        if kind.what == "verdict state":
            raise StateError("the power went")
        write(kind, path, state)

    with monkeypatch.context() as patch:
        patch.setattr(StateKind, "write", fail)
        assert_fails(cli, words, code=5, kind="StateError", message="the power went")
    code, error = inspect(cli, bundle, line / "golden.png", line / "good" / "00.png")
    assert (code, error["kind"]) == (5, "StateError")
    assert "was measured under the bundle's own ranges, in use are the ranges" in error["message"]
    assert "calibrate --ranges --roll-back" in error["message"]
    back = ["calibrate", bundle, "--golden", line / "golden.png", "--ranges", "--roll-back"]
    assert json.loads(cli(*back, "--json")[1])["verdicts"] == first["id"]
    assert inspect(cli, bundle, line / "golden.png", line / "good" / "00.png")[0] == 0


def test_states_of_other_golden_images_are_void(cli, words, bundle, line) -> None:
    plain = [word for word in words if word != "--ranges"]
    plain[3] = line / "good" / "00.png"
    assert cli(*plain)[0] == 0
    both(cli, words)
    code, error = inspect(cli, bundle, line / "good" / "00.png", line / "good" / "01.png")
    assert (code, error["kind"]) == (5, "StateError")
    assert "Calibrate again" in error["message"]


def test_verdicts_alone_are_measured_under_the_ranges_in_use(cli, words) -> None:
    _, ranges = both(cli, words)
    plain = [word for word in words if word != "--ranges"]
    assert json.loads(cli(*plain, "--json")[1])["ranges"] == ranges["id"]


def test_a_dry_run_stores_nothing(cli, words, bundle) -> None:
    verdicts, ranges = both(cli, words, "--dry-run")
    assert verdicts["stored"] is None
    assert verdicts["ranges"] == ranges["id"]
    assert not (bundle / "ranges").exists()
    assert not (bundle / "verdicts").exists()


def test_ranges_that_spoil_the_verdicts_are_refused(cli, words, bundle, monkeypatch) -> None:
    monkeypatch.setattr(recalibration, "_HEADROOM", 0.01)
    assert_fails(cli, words, code=8, kind="GateError", message="nothing was stored: ")
    assert_fails(cli, words, code=8, kind="GateError", message="the stage block_0 of the stored")
    assert not (bundle / "ranges").exists()
    assert not (bundle / "verdicts").exists()


def test_each_thing_that_speaks_against_ranges_is_told() -> None:
    stage = StageParity(stage="features", metric="max_rel", error=0.3, tolerance=0.2)
    report = RangesReport(
        rule=None,
        num_good=19,
        num_bad=3,
        flips=3,
        overkill=(0, 2),
        max_overkill=1,
        escapes=(0, 1),
        stages=(stage,),
    )
    assert report.failures == (
        "3 of 22 verdicts flip, 2 may",
        "of 19 good parts 2 are called anomalies, 0 were before",
        "of 3 bad parts 1 are called normal, 0 were before",
        "the stage features of the stored pair is off by 0.3, 0.2 is allowed",
    )


def test_too_few_good_parts(cli, words, line) -> None:
    for index in range(30, NUM_GOOD):
        (line / "good" / f"{index}.png").unlink()
    words = [word if word != "0.05" else "0.5" for word in words]
    words[words.index("--max-review") + 1] = "0.5"
    fails = {"code": 5, "kind": "TooFewSamplesError"}
    assert_fails(cli, words, **fails, message="new ranges need 32 good parts")


def test_too_few_good_parts_for_the_limits(cli, words) -> None:
    words = [word if word != "0.05" else "0.01" for word in words]
    assert_fails(
        cli,
        words,
        code=5,
        kind="TooFewSamplesError",
        message="of 38 good parts one half gives the ranges; the other sets the limits, and 19",
    )


def test_pictures_that_say_nothing(cli, words, line, monkeypatch) -> None:
    original = recalibration._widened

    def flat(edges):
        return original({"vision": {NAME: (1.0, 1.0)}})

    monkeypatch.setattr(recalibration, "_widened", flat)
    assert_fails(cli, words, code=5, kind="CalibrationError", message="have one value throughout")


def test_a_bundle_without_ranges(cli, words, toy_bundle, tmp_path) -> None:
    damaged_bundle = words[1] = Path(shutil.copytree(toy_bundle.path, tmp_path / "toy"))
    fails = {"code": 2, "kind": "ConfigError"}
    assert_fails(cli, words, **fails, message="its vision side is in fp32")
    manifest = damaged_bundle / "manifest.json"
    content = json.loads(manifest.read_text())
    content["graphs"]["vision"].update(precision="int8", form="dynamic")
    manifest.write_text(json.dumps(content))
    assert_fails(cli, words, **fails, message="its INT8 form is dynamic: every run finds the")
    content["graphs"]["vision"].update(form="static")
    manifest.write_text(json.dumps(content))
    assert_fails(cli, words, **fails, message="compiled into engines")


def test_a_file_of_its_own_is_refused(cli, words, tmp_path) -> None:
    failing = [*words, "--state", tmp_path / "state.json"]
    assert_fails(cli, failing, code=2, kind="ConfigError", message="leave --state out")


def test_a_device_needs_nothing_of_the_workshop(words) -> None:
    code = (
        "import sys\n"
        "for name in ('onnx', 'onnx_ir', 'torch', 'transformers', 'huggingface_hub'):\n"
        "    sys.modules[name] = None\n"
        "from adcopilot_edge.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ranges"] == json.loads(done.stdout)["ranges_state"]["id"]
