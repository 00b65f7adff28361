"""Checkpoints as they were released, all the way from their files to an inspection."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from released import MEAN, STD, Prefix, write_stock, write_thinking
from safetensors.numpy import load_file
from tiny import tiny_tokenizer
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.layout import check_layout
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.manifest import Manifest
from adcopilot_edge.prompt import IMAGE_TOKEN
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.training.synthetic import generate_pair

pytestmark = pytest.mark.torch

Call = Callable[..., str]


@pytest.fixture
def call(cli: Callable[..., tuple[int, str, str]]) -> Call:
    """Run the program; returns what it printed on stdout when all went well."""

    def run(*words: object) -> str:
        code, out, err = cli(*words)
        assert code == 0, err
        return out

    return run


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    pair = generate_pair(3, size=112).to_labelled()
    paths = tmp_path / "golden.png", tmp_path / "part.png"
    for image, path in zip((pair.golden, pair.test), paths, strict=True):
        Image.fromarray(image).save(path)
    return paths


def read_manifest(bundle: Path) -> Manifest:
    return Manifest.model_validate_json((bundle / "manifest.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("prefix", ["disk", "memory"])
@pytest.mark.parametrize("write", [write_thinking, write_stock])
def test_released_files_open(tmp_path: Path, write: Callable[..., Path], prefix: Prefix) -> None:
    checkpoint = open_checkpoint(write(tmp_path / "checkpoint", prefix=prefix))
    check_layout(checkpoint)
    assert checkpoint.language.mrope_section == (2, 3, 3)
    assert checkpoint.language.rope_theta == 1_000_000
    assert checkpoint.language.num_kv_heads == 2
    is_stock = write is write_stock
    assert checkpoint.vision.compare_token_size == (0 if is_stock else 100)
    tied = "language_model.embed_tokens.weight"
    assert checkpoint.head_name == (tied if is_stock else "lm_head.weight")


@pytest.mark.parametrize("prefix", ["disk", "memory"])
def test_the_thinking_model_goes_all_the_way(
    call: Call, tmp_path: Path, pictures: tuple[Path, Path], prefix: Prefix
) -> None:
    checkpoint, bundle = write_thinking(tmp_path / "checkpoint", prefix=prefix), tmp_path / "bundle"
    printed = call(
        "export", checkpoint, "--out", bundle, "--image-size", "112x84", "--parity-pairs", 1
    )
    assert "no Comparison Encoder" not in printed
    manifest = read_manifest(bundle)
    assert manifest.source.model_type == "yangjian"
    assert manifest.model.compare_token_size == 100
    assert manifest.model.compare_position_mode == "shared"
    assert not manifest.model.has_anomaly_map
    assert set(manifest.graphs) == {"vision", "comparison", "decoder"}
    assert json.loads(call("verify", bundle, "--json"))["passed"]
    result = json.loads(call("inspect", *pictures, "--bundle", bundle, "--json"))
    assert result["verdict"] in ("anomaly", "normal", "uncertain")


@pytest.mark.parametrize("llm", ["fp32", "int4"])
def test_the_stock_model_inspects_without_comparison(
    call: Call, tmp_path: Path, pictures: tuple[Path, Path], llm: str
) -> None:
    checkpoint, bundle = write_stock(tmp_path / "checkpoint"), tmp_path / "bundle"
    words = ["--image-size", "112x84", "--parity-pairs", 1, "--llm", llm]
    printed = call("export", checkpoint, "--out", bundle, *words)
    assert "comparison none, this checkpoint has no Comparison Encoder" in printed
    manifest = read_manifest(bundle)
    assert manifest.source.model_type == "qwen2_5_vl"
    assert manifest.model.compare_token_size == 0
    assert set(manifest.graphs) == {"vision", "decoder"}
    assert not (bundle / "comparison.onnx").exists()
    report = json.loads(call("verify", bundle, "--json"))
    assert report["passed"]
    assert "comparison_tokens" not in {stage["stage"] for stage in report["stages"]}
    result = json.loads(call("inspect", *pictures, "--bundle", bundle, "--task", "all", "--json"))
    assert result["verdict"] in ("anomaly", "normal", "uncertain")
    assert "comparison" not in result["precision"]
    assert all(defect["source"] == "text" for defect in result["defects"])


def test_the_stock_model_answers_as_the_stock_classes_do(tmp_path: Path) -> None:
    """What the bundle's proof was held against is what transformers makes of the same folder."""
    folder = write_stock(tmp_path / "checkpoint")
    recipe = ExportRecipe(image_height=112, image_width=84, num_parity_pairs=1)
    pair = generate_pair(3, size=112).to_labelled()
    bundle = export_bundle(folder, tmp_path / "bundle", recipe, pairs=[pair])
    proof = load_file(bundle.file("parity.safetensors"))
    images = Qwen2VLImageProcessorPil(do_resize=False, image_mean=MEAN, image_std=STD)
    size = Preprocessor(image_height=112, image_width=84)
    pictures = [size.resize(proof[f"pair0/{name}"]) for name in ("golden", "test")]
    inputs = images(images=pictures, return_tensors="pt")
    prompt = bundle.manifest.prompt
    text = prompt.golden + prompt.test + prompt.ask_task("verdict")
    copies = IMAGE_TOKEN * bundle.manifest.model.num_merged
    ids = tiny_tokenizer().encode(text.replace(IMAGE_TOKEN, copies), return_tensors="pt")
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        output = stock(
            input_ids=ids,
            mm_token_type_ids=(ids == bundle.manifest.tokens.image).int(),
            logits_to_keep=1,
            **inputs,
        )
    # The proof's vision side is in float64 and this one in float32, through three blocks.
    np.testing.assert_allclose(
        proof["pair0/logits"], output.logits[0, -1].numpy(), rtol=0, atol=1e-4
    )
