"""``adcopilot-edge export`` as a person or a script meets it."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from pathlib import Path

import onnx
import pytest
from PIL import Image
from tiny import tiny_checkpoint

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.training.synthetic import generate_pair

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four real-looking parts with one golden image."""
    root = tmp_path_factory.mktemp("line")
    pairs = [generate_pair(seed, size=112).to_labelled() for seed in range(4)]
    for index, pair in enumerate(pairs):
        folder = root / ("bad" if pair.boxes else "good")
        folder.mkdir(exist_ok=True)
        Image.fromarray(pair.test).save(folder / f"{index}.png")
    (root / "golden").mkdir()
    for index, pair in enumerate(pairs):
        Image.fromarray(pair.golden).save(root / "golden" / f"{index}.png")
    return root


@pytest.fixture
def call(cli):
    """Run ``export``, or another verb; returns exit code, stdout and stderr."""
    return lambda *words, verb="export": cli(verb, *words)


def test_a_script_gets_one_object(call, checkpoint: Path, tmp_path: Path) -> None:
    words = ["--image-size", "56x84", "--llm", "int8", "--parity-pairs", 1, "--json"]
    code, out, err = call(checkpoint, "--out", tmp_path / "bundle", *words)
    assert code == 0
    result = json.loads(out)
    assert result["precision"] == "vision-fp32+comparison-fp32+decoder-int8"
    assert result["path"] == str(tmp_path / "bundle")
    assert result["num_pairs"] == 1
    assert all(stage["passed"] for stage in result["stages"])
    assert err.splitlines()[:4] == ["read", "decoder 0/2", "embedding", "vision 0/3"]


def test_a_person_gets_a_table_of_stages(call, checkpoint: Path, tmp_path: Path) -> None:
    code, out, _ = call(
        checkpoint, "--out", tmp_path / "bundle", "--image-size", "56", "--parity-pairs", 1
    )
    assert code == 0
    assert "features" in out
    assert "limit 5e-05" in out
    assert (tmp_path / "bundle" / "manifest.json").is_file()


@pytest.mark.parametrize("quantizer", ["k-quant", "hqq", "gptq"])
def test_the_levels_of_the_language_model_are_chosen(
    call, checkpoint: Path, line: Path, tmp_path: Path, quantizer: str
) -> None:
    words = ["--image-size", "56", "--llm", "int4", "--llm-quantizer", quantizer, "--json"]
    if quantizer == "gptq":
        words += ["--calib", str(line), "--calib-pairs", "4"]
    code, _, err = call(checkpoint, "--out", tmp_path / "bundle", "--parity-pairs", 2, *words)
    assert code == 0, err
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["graphs"]["decoder"]["quantizer"] == quantizer
    assert ("inputs 0/4" in err) == (quantizer == "gptq")


def test_a_bundle_is_proven_again_by_its_checkpoint(call, checkpoint: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    assert call(checkpoint, "--out", bundle, "--image-size", "56", "--parity-pairs", 1)[0] == 0
    before = (bundle / "manifest.json").read_bytes()
    words = ["--reference", checkpoint, "--pairs", 3, "--json"]
    code, out, err = call(bundle, *words, verb="verify")
    assert code == 0, err
    report = json.loads(out)
    assert (report["passed"], report["num_pairs"], report["provider"]) == (True, 3, "cpu")
    assert [stage["stage"] for stage in report["stages"]][:4] == [
        *("resize", "patches", "patch_embed", "block_0")
    ]
    assert err.splitlines() == ["torch 0/3", "onnxruntime 0/3"]
    assert (bundle / "manifest.json").read_bytes() == before


def test_a_bundle_may_be_proven_later(call, checkpoint: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    code, out, err = call(checkpoint, "--out", bundle, "--image-size", "56", "--no-proof")
    assert code == 0, err
    assert "proof      NONE: these graphs were not held against the checkpoint" in out
    advice = shlex.join(["adcopilot-edge", "verify", str(bundle), "--reference", str(checkpoint)])
    assert advice in [line.strip() for line in out.splitlines()]
    assert "torch" not in err.split()
    assert json.loads((bundle / "manifest.json").read_text())["parity"] is None
    code, out, _ = call(bundle, verb="verify")
    assert (code, "none stored" in out) == (0, True)
    code, out, _ = call(bundle, "--reference", checkpoint, "--pairs", 1, "--json", verb="verify")
    assert (code, json.loads(out)["passed"]) == (0, True)
    code, out, _ = call(checkpoint, "--out", bundle, "--no-proof", "--image-size", "56", "--json")
    assert (code, json.loads(out)["num_pairs"], json.loads(out)["stages"]) == (0, 0, [])


def test_a_bundle_is_proven_by_no_other_checkpoint(call, checkpoint: Path, tmp_path: Path) -> None:
    bundle, other = tmp_path / "bundle", tmp_path / "other"
    assert call(checkpoint, "--out", bundle, "--image-size", "56", "--parity-pairs", 1)[0] == 0
    tiny_checkpoint(other, layers=1)
    code, out, err = call(bundle, "--reference", other, verb="verify")
    assert (code, out) == (2, "")
    assert "was made of another checkpoint" in err
    code, _, err = call(bundle, "--pairs", 3, verb="verify")
    assert code == 2
    assert "go with --reference" in err


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
        (["--int8", "--int8-form", "static"], 2, "name a folder with --calib"),
        (["--int8-form", "static"], 2, "form 'static' is for the vision side in int8, and it is"),
        (["--target", "tensorrt", "--int8", "--int8-form", "dynamic"], 2, "static INT8 only"),
        (["--int8", "--calib", "somewhere"], 2, "the vision in int8 (dynamic) and"),
        (["--int8", "--smooth"], 2, "static int8, and it is to be dynamic int8 for cpu"),
        (["--llm", "int4", "--llm-quantizer", "gptq"], 2, "name a folder with --calib"),
        (["--llm-quantizer", "hqq"], 2, "'hqq' makes int4, and the language model is to be fp32"),
        (["--calib", "somewhere"], 2, "--calib has no use for --target cpu"),
        (["--smooth"], 2, "smoothing is for the vision side in static int8"),
        (["--calib-method", "mse"], 2, "'mse' is for the vision side in static int8"),
        (["--no-proof", "--parity-pairs", "3"], 2, "leave --parity-pairs out"),
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
    words += ["--calib-method", "mse"]
    calib = ["--calib", tmp_path / "line", "--calib-pairs", 2, "--json"]
    code, out, err = call(checkpoint, "--out", tmp_path / "bundle", *words, *calib)
    assert code == 0
    assert json.loads(out)["precision"] == "vision-int8+comparison-int8+decoder-int4"
    assert err.splitlines()[:3] == ["read", "ranges 0/2", "histograms 0/2"]
    ranges = json.loads((tmp_path / "bundle" / "ranges.json").read_text())
    assert (ranges["pairs"], ranges["num_pairs"]) == ("2 pairs of line", 2)
    entry = ranges["ranges"]["visual.blocks.0.attn.qkv.input"]
    assert entry["method"] == "mse"
    assert entry["bound"] <= max(-entry["min"], entry["max"])
    record = json.loads((tmp_path / "bundle" / "calibration.json").read_text())
    assert record["coverage"] == json.loads(out)["calibration"]
    assert [pair["name"] for pair in record["pairs"]] == ["good/0.png", "bad/0.png"]
    calib = ["--calib", tmp_path / "line", "--calib-pairs", 3]
    code, _, err = call(checkpoint, "--out", tmp_path / "bundle", *words, *calib)
    assert code == 5
    assert "has 2 different pairs, 3 are needed" in err


def test_the_vision_side_is_smoothed_before_int8(
    call, checkpoint: Path, line: Path, tmp_path: Path
) -> None:
    words = ["--target", "tensorrt", "--int8", "--image-size", 56, "--parity-pairs", 1]
    words += ["--calib", line, "--calib-pairs", 2, "--smooth"]
    code, out, err = call(checkpoint, "--out", tmp_path / "bundle", *words)
    assert code == 0, err
    assert err.splitlines()[1:3] == ["smoothing 0/2", "ranges 0/2"]
    assert "of 9 layers; mean error of their INT8 output" in out
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert {"calibration.json", "ranges.json", "smoothing.json"} <= set(manifest["files"])


def test_float16_may_take_its_limits_from_synthetic_pairs(
    call, checkpoint: Path, tmp_path: Path
) -> None:
    words = ["--target", "tensorrt", "--image-size", 56, "--parity-pairs", 1, "--calib-pairs", 1]
    code, out, _ = call(checkpoint, "--out", tmp_path / "bundle", *words)
    assert code == 0
    assert "vision-fp16+comparison-fp16+decoder-int4" in out
    ranges = json.loads((tmp_path / "bundle" / "ranges.json").read_text())
    assert ranges["pairs"] == "1 pairs of synthetic boards"
    assert "on 1 pairs of 1 that were looked at" in out
    code, out, _ = call(checkpoint, "--out", tmp_path / "other", *words, "--dry-run")
    assert code == 0
    assert "vision.onnx.data" in out


def test_deeppcb_serves_large_bundles_too(
    call, checkpoint: Path, tmp_path: Path, shared_data: Path
) -> None:
    words = ["--image-size", "448", "--target", "tensorrt", "--int8", "--parity-pairs", 1]
    data = ["--calib", shared_data / "deeppcb", "--calib-pairs", 4]
    code, _, err = call(checkpoint, "--out", tmp_path / "bundle", *words, *data, "--json")
    assert code == 0, err


@pytest.mark.parametrize("size", [32, 64])
def test_blocks_of_the_language_model_are_as_large_as_asked(
    call, checkpoint: Path, tmp_path: Path, size: int
) -> None:
    words = ["--image-size", "56", "--llm", "int4", "--llm-block", size, "--no-proof"]
    assert call(checkpoint, "--out", tmp_path / "bundle", *words)[0] == 0
    graph = onnx.load(tmp_path / "bundle" / "decoder.onnx", load_external_data=False).graph
    sizes = {
        attribute.i
        for node in graph.node
        if node.op_type == "MatMulNBits"
        for attribute in node.attribute
        if attribute.name == "block_size"
    }
    assert sizes == {size}


def test_the_head_has_the_bits_that_are_asked_for(call, checkpoint: Path, tmp_path: Path) -> None:
    for bits in (8, 4):
        words = ["--image-size", "56", "--llm", "int4", "--llm-head", f"int{bits}", "--no-proof"]
        folder = tmp_path / str(bits)
        assert call(checkpoint, "--out", folder, *words)[0] == 0
        *_, head = (
            node
            for node in onnx.load(folder / "decoder.onnx", load_external_data=False).graph.node
            if node.op_type == "MatMulNBits"
        )
        assert {it.name: it.i for it in head.attribute}["bits"] == bits


def test_blocks_of_whole_rows(call, checkpoint: Path, tmp_path: Path) -> None:
    words = ["--image-size", "56", "--llm", "int8", "--llm-block", "row", "--parity-pairs", 1]
    code, _, err = call(checkpoint, "--out", tmp_path / "bundle", *words)
    assert code == 0, err
    graph = onnx.load(tmp_path / "bundle" / "decoder.onnx", load_external_data=False).graph
    operators = Counter(node.op_type for node in graph.node)
    assert operators["MatMulNBits"] == 1  # the head
    assert operators["MatMulInteger"] == operators["ReduceMax"] > 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--llm", "int4", "--llm-block", 48), "one of 16, 32, 64, 128, 256 or 'row', got 48"),
        (("--llm", "fp32", "--llm-head", "int4"), "head in int4 is for .* it is to be fp32"),
        (("--llm", "int4", "--llm-block", "all"), "a number of weights or 'row', got 'all'"),
        (("--llm", "int4", "--llm-block", "row"), "in int8, .*it is to be int4"),
        (("--llm", "int8", "--llm-block", "row", "--target", "cuda"), "for the target 'cpu'"),
    ],
)
def test_blocks_that_can_t_be(
    call, checkpoint: Path, tmp_path: Path, words: tuple[object, ...], message: str
) -> None:
    code, _, err = call(checkpoint, "--out", tmp_path / "bundle", *words)
    assert code == 2
    assert re.search(message, " ".join(err.split()))


def test_the_threshold_goes_into_the_bundle_and_into_its_proof(
    call, checkpoint: Path, tmp_path: Path
) -> None:
    size = ("--image-size", "56x84", "--parity-pairs", 1)
    code, _, _ = call(checkpoint, "--out", tmp_path / "bundle", "--threshold", 0.3, *size)
    assert code == 0
    assert open_bundle(tmp_path / "bundle").manifest.decision.threshold == 0.3
    code, _, err = call(checkpoint, "--out", tmp_path / "other", "--threshold", 1.0)
    assert code == 2
    assert "threshold must lie between 0 and 1" in err
