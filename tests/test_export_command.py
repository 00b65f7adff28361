"""``adcopilot-edge export`` as a person or a script meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from tiny import tiny_checkpoint

from adcopilot_edge.cli import main
from adcopilot_edge.training.synthetic import generate_pair

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    """Run ``export``; returns exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main(["export", *map(str, words)])
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


def test_a_script_gets_one_object(call, checkpoint: Path, tmp_path: Path) -> None:
    words = ["--image-size", "56x84", "--llm", "int8", "--parity-pairs", 1, "--json"]
    code, out, err = call(checkpoint, "--out", tmp_path / "bundle", *words)
    assert code == 0
    result = json.loads(out)
    assert result["precision"] == "vision-fp32+comparison-fp32+decoder-int8"
    assert result["path"] == str(tmp_path / "bundle")
    assert result["num_pairs"] == 1
    assert all(stage["passed"] for stage in result["stages"])
    assert err.splitlines()[:4] == ["read", "vision 0/3", "comparison", "decoder 0/2"]


def test_a_person_gets_a_table_of_stages(call, checkpoint: Path, tmp_path: Path) -> None:
    code, out, _ = call(
        checkpoint, "--out", tmp_path / "bundle", "--image-size", "56", "--parity-pairs", 1
    )
    assert code == 0
    assert "features" in out
    assert "limit 5e-05" in out
    assert (tmp_path / "bundle" / "manifest.json").is_file()


def test_a_dry_run_writes_nothing(call, checkpoint: Path, tmp_path: Path) -> None:
    code, out, _ = call(checkpoint, "--out", tmp_path / "bundle", "--dry-run", "--json")
    plan = json.loads(out)
    assert code == 0
    assert plan["total_bytes"] == sum(plan["files"].values())
    assert plan["peak_memory_bytes"] > plan["total_bytes"]
    assert list(tmp_path.iterdir()) == []
    code, out, _ = call(checkpoint, "--out", tmp_path / "bundle", "--dry-run", "--int8")
    assert code == 0
    assert "vision.onnx.data" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--fp16"], 2, "must be one of fp32, int8"),
        (["--fp32", "--int8"], 2, "choose one of --fp32, --int8"),
        (["--target", "cuda", "--int8"], 2, "must be one of fp16, fp32"),
        (["--target", "tensorrt", "--fp32"], 2, "must be one of fp16, int8"),
        (["--target", "tensorrt", "--int8"], 2, "name a folder with --calib"),
        (["--calib", "somewhere"], 2, "--calib has no use for --target cpu"),
        (["--image-size", "100"], 2, "multiple of 28"),
        (["--image-size", "0"], 2, "multiple of 28"),
        (["--image-size", "large"], 2, "written 224 or 448x560"),
        (["--image-size", "2240"], 2, "need a sequence of"),
    ],
)
def test_a_wrong_setting_says_what_is_right(
    call, checkpoint: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    status, out, err = call(checkpoint, "--out", tmp_path / "bundle", *words)
    assert status == code
    assert message in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_no_checkpoint(call, tmp_path: Path) -> None:
    code, out, err = call(tmp_path / "nowhere", "--out", tmp_path / "bundle", "--json")
    assert code == 4
    assert "no Hugging Face checkpoint folder" in err
    assert json.loads(out)["error"]["kind"] == "CheckpointError"
    assert list(tmp_path.iterdir()) == []


def test_a_device_learns_what_to_install(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> None:
        assert name == "torch"

    monkeypatch.setattr("importlib.util.find_spec", find)
    code, _, err = call(tmp_path, "--out", tmp_path / "bundle")
    assert code == 2
    assert "pip install 'adcopilot-edge[export]'" in err


def test_int8_for_tensorrt_takes_its_scales_from_a_folder(
    call, checkpoint: Path, tmp_path: Path
) -> None:
    for index, name in enumerate(("golden/board.png", "good/0.png", "bad/0.png")):
        path = tmp_path / "line" / name
        path.parent.mkdir(parents=True)
        pair = generate_pair(index, size=112)
        Image.fromarray(pair.golden if name.startswith("golden") else pair.test).save(path)
    words = ["--target", "tensorrt", "--int8", "--image-size", 56, "--parity-pairs", 1]
    calib = ["--calib", tmp_path / "line", "--calib-pairs", 2, "--json"]
    code, out, err = call(checkpoint, "--out", tmp_path / "bundle", *words, *calib)
    assert code == 0
    assert json.loads(out)["precision"] == "vision-int8+comparison-int8+decoder-int4"
    assert err.splitlines()[:3] == ["read", "ranges 0/2", "vision 0/3"]
    ranges = json.loads((tmp_path / "bundle" / "ranges.json").read_text())
    assert (ranges["pairs"], ranges["num_pairs"]) == ("2 pairs of line", 2)
    calib = ["--calib", tmp_path / "line", "--calib-pairs", 3]
    code, _, err = call(checkpoint, "--out", tmp_path / "bundle", *words, *calib)
    assert code == 5
    assert "has 2 parts, 3 are needed" in err


def test_float16_may_take_its_limits_from_synthetic_pairs(
    call, checkpoint: Path, tmp_path: Path
) -> None:
    words = ["--target", "tensorrt", "--image-size", 56, "--parity-pairs", 1, "--calib-pairs", 1]
    code, out, _ = call(checkpoint, "--out", tmp_path / "bundle", *words)
    assert code == 0
    assert "vision-fp16+comparison-fp16+decoder-int4" in out
    ranges = json.loads((tmp_path / "bundle" / "ranges.json").read_text())
    assert ranges["pairs"] == "1 pairs of synthetic boards"
    code, out, _ = call(checkpoint, "--out", tmp_path / "other", *words, "--dry-run")
    assert code == 0
    assert "vision.onnx.data" in out
