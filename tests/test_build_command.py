"""``adcopilot-edge build`` as a person or a script meets it; TensorRT-RTX really builds."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.engines.api import Api

pytestmark = pytest.mark.torch

RTX = ("--backend", "tensorrt-rtx")


@pytest.fixture
def call(cli):
    """Run ``build``; returns exit code, stdout and stderr."""
    return partial(cli, "build")


@pytest.fixture
def folder(tensorrt_bundles: dict[Precision, Bundle], tmp_path: Path) -> Path:
    """The folder of an INT8 bundle without engines."""
    source = tensorrt_bundles["int8"].path
    ignore = shutil.ignore_patterns("engines")
    return Path(shutil.copytree(source, tmp_path / "bundle", ignore=ignore))


def test_a_person_gets_a_table_of_engines(call: Any, folder: Path, rtx: Api) -> None:
    code, out, err = call(folder, *RTX, "--compute-capability", "8.6")
    assert (code, err) == (0, "vision 0/6\ncomparison 0/6\n")
    head, vision, comparison = out.splitlines()
    assert head == f"engines    {folder / 'engines' / f'tensorrt-rtx-{rtx.version}-sm86'}"
    assert vision.split()[:3] == ["vision", "int8", "8.6"]
    assert vision.endswith("13 fp16, 12 int8")
    assert comparison.endswith("7 fp16, 1 fp32, 15 int8")


@pytest.mark.parametrize(
    "words",
    [
        ["--compute-capability", "8.6", "8.9"],
        ["--compute-capability", "8.6,8.9"],
        ["--compute-capability", "8.6", "--compute-capability", "8.9"],
        ["8.6", "8.9"],
    ],
)
@pytest.mark.usefixtures("rtx")
def test_several_compute_capabilities(call: Any, folder: Path, words: list[str]) -> None:
    code, out, _ = call(folder, *RTX, *words, "--dry-run", "--json")
    assert code == 0
    names = {Path(engine["file"]).parent.name for engine in json.loads(out)["engines"]}
    assert len(names) == 1
    assert names.pop().endswith("-sm86-sm89")


def test_a_script_gets_one_object(call: Any, folder: Path, rtx: Api) -> None:
    code, out, _ = call(folder, *RTX, "8.6", "--workspace", "1G", "--weight-streaming", "--json")
    assert code == 0
    assert out.count("\n") == 1
    vision, comparison = json.loads(out)["engines"]
    assert (vision["graph"], comparison["graph"]) == ("vision", "comparison")
    assert vision["compute_capabilities"] == ["8.6"]
    assert vision["workspace_bytes"] == 1 << 30
    assert vision["streams_weights"]
    assert vision["version"] == rtx.version
    engine = Path(vision["file"])
    assert engine.stat().st_size == vision["size_bytes"]
    record = json.loads(engine.with_name("vision.engine.json").read_text())
    assert {**record, "file": vision["file"]} == vision


@pytest.mark.usefixtures("rtx")
def test_a_dry_run_writes_nothing(call: Any, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    code, out, err = call(folder, *RTX, "8.6", "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split()[:2] == ["vision", "weights"]
    assert "memory about 4" in out
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([*RTX], 2, "say which with --compute-capability, of 7.5, 8.0, 8.6"),
        ([*RTX, "8.7"], 2, "can't build for compute capability 8.7; it knows 7.5"),
        ([*RTX, "86"], 2, "written 8.6, several 8.6,8.9; got '86'"),
        ([*RTX, "8.6", "--workspace", "much"], 2, "written 4G, 512M or 4.5GiB, got 'much'"),
        ([*RTX, "8.6", "--workspace", "1"], 4, "Raise --workspace, or leave it out"),
    ],
)
@pytest.mark.usefixtures("rtx")
def test_what_can_not_be_built_says_why(
    call: Any, folder: Path, words: list[str], code: int, message: str
) -> None:
    status, out, err = call(folder, *words, "--json")
    assert status == code
    assert message in err
    assert message in json.loads(out)["error"]["message"]
    assert not (folder / "engines").exists()


def test_a_bundle_for_another_target(call: Any, toy_bundle: Bundle, rtx: Api) -> None:
    code, _, err = call(toy_bundle.path, *RTX, "8.6")
    assert code == 2
    assert "exported for the target 'cpu'" in err
    assert "Export it with --target tensorrt." in err


@pytest.mark.usefixtures("rtx")
def test_a_damaged_bundle(call: Any, folder: Path) -> None:
    (folder / "vision.onnx.data").write_bytes(b"")
    code, _, err = call(folder, *RTX, "8.6")
    assert code == 3
    assert "vision.onnx.data (0 bytes, expected" in err
    assert not (folder / "engines").exists()


@pytest.mark.usefixtures("rtx")
def test_no_bundle(call: Any, tmp_path: Path) -> None:
    code, _, err = call(tmp_path / "nowhere", *RTX, "8.6")
    assert code == 3
    assert "no bundle at" in err


def test_an_absent_package(call: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    code, _, err = call(folder)
    assert code == 2
    assert "pip install 'adcopilot-edge[tensorrt]'" in err


def test_an_export_removes_the_engines_of_the_bundle_before(
    call: Any, folder: Path, rtx: Api
) -> None:
    from adcopilot_edge.bundle import new_bundle

    assert call(folder, *RTX, "8.6")[0] == 0
    with new_bundle(folder) as new:
        shutil.copytree(folder, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns("engines"))
    assert not (folder / "engines").exists()
