"""The command line: what is printed where, and the exit code of each kind of failure."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import adcopilot_edge
from adcopilot_edge.cli import app
from adcopilot_edge.runtime.doctor import examine_machine

HEAVY = ("PIL", "numpy", "onnxruntime", "pydantic", "rich", "tokenizers", "torch", "transformers")
COMMANDS = [
    command.callback.__name__.replace("_", "-")
    for command in app.registered_commands
    if command.callback
]


@pytest.fixture
def pair(image_pair, tmp_path):
    """Paths of a golden and of a bad test image."""
    paths = tmp_path / "golden.png", tmp_path / "test.png"
    for image, path in zip(image_pair, paths, strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.fixture
def call(cli):
    return cli


def as_object(out):
    """The one JSON object that ``out`` must be."""
    value = json.loads(out)
    assert isinstance(value, dict)
    assert out.count("\n") == 1
    return value


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    assert re.search(f"Examples?: adcopilot-edge {command}", words)


def test_help_lists_the_commands_and_loads_nothing_heavy():
    code = f"""
import sys
from adcopilot_edge.cli import main
try:
    main(["--help"])
finally:
    print(*sorted({{*{HEAVY}}} & {{*sys.modules}}), file=sys.stderr)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == ""
    assert {*COMMANDS} <= {*run.stdout.split()}


def test_version():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"{adcopilot_edge.__version__}\n")


def test_the_program_in_a_process(pair, toy_bundle):
    words = [
        "inspect",
        *pair,
        "--bundle",
        toy_bundle.path,
        "--threads",
        1,
        "--json",
        "--task",
        "all",
        "--tile",
    ]
    command = [sys.executable, "-m", "adcopilot_edge", *map(str, words)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert as_object(run.stdout)["verdict"] == "anomaly"


def test_inspect_for_people(call, pair, toy_bundle):
    code, out, err = call(
        "inspect",
        *pair,
        "--bundle",
        toy_bundle.path,
        "--threads",
        1,
        "--task",
        "describe",
        "--max-new-tokens",
        "2",
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("verdict    anomaly, anomaly score 0.9")
    assert lines[1] == "boxes      1"
    label, *corners, source = lines[2].split()
    assert (label, len(corners), source) == ("defect", 4, "map")
    names = {line.split()[0] for line in lines if not line.startswith(" ")}
    assert names == {"verdict", "boxes", "describe", "health", "notes", "times,", "bundle"}


def test_inspect_as_json(call, pair, toy_bundle):
    code, out, err = call(
        "inspect", *pair, "--bundle", toy_bundle.path, "--threads", 1, "--json", "--ask", "Why?"
    )
    assert (code, err) == (0, "")
    record = as_object(out)
    assert set(record) == {
        "verdict",
        "anomaly_score",
        "threshold",
        "defects",
        "text",
        "timings_ms",
        "golden_cached",
        "bundle",
        "provider",
        "precision",
        "calibration",
        "health",
        "notes",
        "path",
        "takt_overrun_ms",
    }
    assert set(record["defects"][0]) == {"label", "bbox_2d", "source"}
    assert set(record["text"]) == {"ask"}


def test_overlay_leaves_stdout_alone(call, pair, toy_bundle, tmp_path):
    overlay = tmp_path / "result.png"
    words = [
        "inspect",
        *pair,
        "--bundle",
        toy_bundle.path,
        "--threads",
        1,
        "--overlay",
        overlay,
        "--json",
    ]
    code, out, err = call(*words)
    assert (code, err) == (0, f"wrote {overlay}\n")
    assert as_object(out)["verdict"] == "anomaly"
    with Image.open(overlay) as picture:
        assert min(picture.size) > 100


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_an_anomaly_has_its_exit_code(call, pair, toy_bundle, words):
    golden, test = pair
    words = ["--bundle", toy_bundle.path, "--threads", 1, "--fail-on-anomaly", *words]
    code, out, _ = call("inspect", golden, test, *words)
    assert code == 10
    assert "anomaly" in out
    assert call("inspect", golden, golden, *words)[0] == 0


BROKEN_FILES = {
    "missing": None,
    "empty": b"",
    "text": b"This is a letter, not a picture.\n" * 20,
    "bomb": b"P5 20000 20000 255\n" + bytes(1000),
    "cut": b"\x89PNG\r\n\x1a\n" + bytes(100),
}
IMAGE_KINDS = {
    "missing": "ImageNotFoundError",
    "empty": "ImageDecodeError",
    "text": "ImageDecodeError",
    "bomb": "ImageTooLargeError",
    "cut": "ImageDecodeError",
}


def assert_fails(call, words, *, code, kind):
    """The command fails alike for people and for programs."""
    assert call(*words)[:2] == (code, "")
    got, out, err = call(*words, "--json")
    assert got == code
    error = as_object(out)["error"]
    assert error["kind"] == kind
    assert err == f"error: {error['message']}\n"


@pytest.mark.parametrize("kind", BROKEN_FILES)
@pytest.mark.parametrize("place", ["golden", "test"])
def test_an_unusable_image(call, pair, toy_bundle, tmp_path, kind, place):
    broken = tmp_path / "broken.png"
    if (content := BROKEN_FILES[kind]) is not None:
        broken.write_bytes(content)
    paths = (broken, pair[1]) if place == "golden" else (pair[0], broken)
    words = ["inspect", *paths, "--bundle", toy_bundle.path, "--threads", 1]
    assert_fails(call, words, code=6, kind=IMAGE_KINDS[kind])


def test_another_view(call, pair, toy_bundle, tmp_path):
    turned = tmp_path / "turned.png"
    with Image.open(pair[1]) as image:
        image.transpose(Image.Transpose.ROTATE_90).save(turned)
    words = ["inspect", pair[0], turned, "--bundle", toy_bundle.path, "--threads", 1]
    assert_fails(call, words, code=6, kind="AspectMismatchError")


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_damaged_bundle(call, pair, damaged_bundle, command):
    path = damaged_bundle / "decoder.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    words = ["verify", damaged_bundle]
    if command == "inspect":
        words = ["inspect", *pair, "--bundle", damaged_bundle, "--threads", 1]
    assert_fails(call, words, code=3, kind="ChecksumError")


def test_no_bundle(call, pair, tmp_path):
    words = ["inspect", *pair, "--bundle", tmp_path / "nowhere"]
    assert_fails(call, words, code=3, kind="BundleNotFoundError")


def test_an_absent_provider(call, pair, toy_bundle, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    words = ["inspect", *pair, "--bundle", toy_bundle.path, "--threads", 1, "--provider", "cuda"]
    assert_fails(call, words, code=6, kind="ProviderUnavailableError")


@pytest.mark.parametrize(
    "words",
    [["--provider", "abacus"], ["--ask", " "], ["--overlay", "x.txt"], ["--overlay", "no/x.png"]],
)
def test_a_setting_out_of_range(call, pair, toy_bundle, words):
    words = ["inspect", *pair, "--bundle", toy_bundle.path, "--threads", 1, *words]
    assert_fails(call, words, code=2, kind="ConfigError")


def test_an_overlay_that_can_not_be_written(call, pair, toy_bundle, tmp_path):
    (tmp_path / "folder.png").mkdir()
    words = [
        "inspect",
        *pair,
        "--bundle",
        toy_bundle.path,
        "--threads",
        1,
        "--overlay",
        tmp_path / "folder.png",
    ]
    assert_fails(call, words, code=2, kind="ConfigError")


@pytest.mark.parametrize(
    "words",
    [
        ["inspect"],
        ["dance"],
        ["inspect", "a", "b", "--task", "dance"],
        ["verify", "b", "--threads=0"],
    ],
)
def test_wrong_usage_prints_nothing_on_stdout(call, words):
    code, out, err = call(*words, "--json")
    assert (code, out) == (2, "")
    assert "Usage: adcopilot-edge" in err


def test_verify(call, toy_bundle):
    code, out, err = call("verify", toy_bundle.path, "--threads", 1, "--json")
    assert (code, err) == (0, "")
    assert as_object(out)["passed"] is True
    assert "result     passed" in call("verify", toy_bundle.path, "--threads", 1)[1]


def test_verify_that_fails(call, toy_bundle, monkeypatch):
    from adcopilot_edge.manifest import StageParity
    from adcopilot_edge.runtime.verify import VerifyReport

    stage = StageParity(stage="logits", metric="max_abs", error=float("nan"), tolerance=1e-4)
    report = VerifyReport(
        bundle=toy_bundle.id, provider="cpu", num_files=6, num_pairs=2, stages=(stage,)
    )
    monkeypatch.setattr("adcopilot_edge.runtime.verify.verify_bundle", lambda *_, **__: report)
    code, out, _ = call("verify", toy_bundle.path, "--threads", 1, "--json")
    assert code == 4
    assert as_object(out)["stages"][0]["error"] is None
    code, out, _ = call("verify", toy_bundle.path, "--threads", 1)
    assert code == 4
    assert "result     FAILED first at logits" in out


def test_demo_with_what_is_in_the_package(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("demo")
    assert (code, err) == (0, "wrote adcopilot-demo.png\n")
    assert out.startswith("verdict    ")
    assert (tmp_path / "adcopilot-demo.png").stat().st_size > 1000


def test_doctor(call, toy_bundle, monkeypatch):
    monkeypatch.setattr("adcopilot_edge.runtime.doctor.embedded_bundle", lambda: toy_bundle.path)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    code, out, err = call("doctor", "--json")
    assert (code, err) == (0, "")
    record = as_object(out)
    assert record["bundle"] == toy_bundle.id
    assert record["providers"] == {"cpu": "works", "cuda": "absent"}
    assert record["packages"]["numpy"] == np.__version__
    assert {"cpu", "cores", "python", "system"} <= set(record["machine"])
    assert "cpu: works" in call("doctor")[1]


def test_doctor_lists_problems(call, tmp_path, monkeypatch):
    monkeypatch.setattr("adcopilot_edge.runtime.doctor.embedded_bundle", lambda: tmp_path)
    code, out, err = call("doctor")
    assert code == 1
    assert "none embedded" in out
    assert err.startswith("problem: no bundle at")
    assert as_object(call("doctor", "--json")[1])["problems"]


def test_doctor_on_a_jetson(tmp_path, toy_bundle):
    for name, text in {
        "proc/cpuinfo": "processor : 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\n",
        "proc/meminfo": "MemTotal: 7990000 kB\nMemAvailable:    6291456 kB\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1\nsecond line\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    machine = examine_machine(tmp_path, toy_bundle.path).machine
    assert machine["cpu"] == "ARMv8 Processor rev 1 (v8l)"
    assert machine["memory"] == "6144 MiB available"
    assert machine["board"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert machine["jetson"] == "R36 (release), REVISION: 4.3, GCID: 1"
    assert machine["power"]


@pytest.mark.parametrize(
    ("script", "power"),
    [
        ("#!/bin/sh\necho 'NV Power Mode: 15W'; echo 0\n", "NV Power Mode: 15W, 0"),
        ("#!/bin/sh\nexit 3\n", "unknown: "),
    ],
)
def test_doctor_asks_nvpmodel(tmp_path, toy_bundle, monkeypatch, script, power):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_text("# R36\n", encoding="utf-8")
    program = tmp_path / "nvpmodel"
    program.write_text(script, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert examine_machine(tmp_path, toy_bundle.path).machine["power"].startswith(power)
