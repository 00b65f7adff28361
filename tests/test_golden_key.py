"""What a golden pack is found by: all that its numbers depend on, and nothing else."""

from __future__ import annotations

import shutil

import pytest
from pack_cases import (
    GOLDEN_TEXT,
    change_manifest,
    open_inspector,
    with_preprocessing,
    with_prompt,
)
from toy import MODEL, write_toy_bundle

from adcopilot_edge.bundle import list_files, open_bundle
from adcopilot_edge.runtime.golden_key import golden_key


@pytest.fixture
def bundle(damaged_bundle):
    """The folder of a toy bundle that a test may write to."""
    return damaged_bundle


@pytest.mark.parametrize(
    ("change", "is_kept"),
    [
        (with_prompt(golden=GOLDEN_TEXT), False),
        (with_preprocessing(image_mean=(0.4, 0.5, 0.5)), False),
        (with_prompt(question=" is the part. {question}<|im_end|>\n<|im_start|>assistant\n"), True),
        (lambda it: it.model_copy(update={"created_by": "others"}), True),
    ],
    ids=["prompt", "preprocessing", "question", "other"],
)
def test_the_key_is_over_what_lies_before_the_boundary(bundle, image_pair, pack, change, is_kept):
    change_manifest(bundle, change)
    inspection = open_inspector(bundle).inspect(*image_pair)
    assert inspection.golden_cached == is_kept
    assert inspection.notes == (() if is_kept else ("golden_pack_outdated",))


def test_another_graph_has_another_key(bundle, image_pair, pack, tmp_path):
    model = MODEL.model_copy(update={"compare_position_mode": "shared"})
    other = write_toy_bundle(tmp_path / "other", model)
    keys = {golden_key(open_bundle(it), golden_sha256="0" * 64, provider="cpu")
            for it in (bundle, other.path)}  # fmt: skip
    assert len(keys) == 2
    shutil.copytree(bundle / "goldens", other.path / "goldens")
    inspection = open_inspector(other.path).inspect(*image_pair)
    assert not inspection.golden_cached
    assert inspection.notes == ("golden_pack_outdated",)


@pytest.mark.parametrize("name", ["vision.onnx", "decoder.onnx", "embedding.npy", "tokenizer.json"])
def test_every_file_of_the_bundle_counts(bundle, name):
    before = open_bundle(bundle)
    (bundle / name).write_bytes((bundle / name).read_bytes() + b" ")
    change_manifest(bundle, lambda it: it.model_copy(update={"files": list_files(bundle)}))
    after = open_bundle(bundle)
    assert golden_key(before, golden_sha256="0" * 64, provider="cpu") != golden_key(
        after, golden_sha256="0" * 64, provider="cpu"
    )


def test_provider_variant_release_and_processor_count(bundle, monkeypatch):
    opened = open_bundle(bundle)

    def key(provider="cpu", variant=""):
        return golden_key(opened, golden_sha256="0" * 64, provider=provider, variant=variant)

    keys = {key(), key(provider="cuda"), key(variant="+1234"), key(provider="tensorrt")}
    record = bundle / "engines" / "tensorrt-10.3.0-sm87" / "vision.engine.json"
    record.parent.mkdir(parents=True)
    record.write_bytes(b"{}")
    keys.add(key(provider="tensorrt"))
    assert key() in keys  # the CPU has nothing to do with engines
    module = "adcopilot_edge.runtime.golden_key"
    monkeypatch.setattr(f"{module}.cpu_model", lambda: "another")
    keys.add(key())
    monkeypatch.setattr("adcopilot_edge.__version__", "99")
    keys.add(key())
    assert len(keys) == 7
