"""From checkpoint to bundle: what is written, that it is proven, that a failure leaves nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_checkpoint

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.errors import ConfigError, ExportError, ParityError
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.comparison import write_comparison_graph
from adcopilot_edge.export.memory import MemoryPlan
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.plan import plan_export
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.manifest import Target
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.cached_rungs import TOLERANCES
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.verify import verify_bundle
from adcopilot_edge.training.synthetic import generate_pair

pytestmark = pytest.mark.torch

STAGES = [
    *("resize", "patches", "patch_embed", "block_0", "block_1", "block_2", "features", "tokens"),
    *("comparison_tokens", "anomaly_logits", "logits", "greedy_ids", "verdict"),
]
PIPELINE = "adcopilot_edge.export.pipeline"
RECIPE = ExportRecipe(image_height=112, image_width=84, num_parity_pairs=2, max_new_tokens=8)
PAIRS = [generate_pair(seed, size=112).to_labelled() for seed in range(2)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundles") / "fp32"
    return export_bundle(checkpoint, out, replace(RECIPE, max_new_tokens=64), pairs=PAIRS)


def test_a_bundle_holds_its_files_and_its_proof(bundle: Bundle) -> None:
    manifest = bundle.manifest
    names = {"vision", "comparison", "decoder"}
    assert set(manifest.graphs) == names
    assert set(manifest.files) == {
        *(f"{name}.onnx" for name in names),
        *(f"{name}.onnx.data" for name in names),
        "vision.probes.onnx",
        "embedding.npy",
        "tokenizer.json",
        "parity.safetensors",
    }
    assert {path.name for path in bundle.path.iterdir()} == {*manifest.files, "manifest.json"}
    assert manifest.precision == "vision-fp32+comparison-fp32+decoder-fp32"
    assert manifest.source.name == "checkpoint"
    assert manifest.parity is not None
    assert manifest.parity.num_pairs == 2
    assert [stage.stage for stage in manifest.parity.stages] == STAGES


def test_who_may_read_new_files_may_read_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.touch()
    modes = {path.name: path.stat().st_mode for path in bundle.path.iterdir()}
    assert modes == dict.fromkeys(modes, new.stat().st_mode)


def test_float_graphs_answer_word_for_word_as_the_checkpoint(bundle: Bundle) -> None:
    assert bundle.manifest.parity is not None
    errors = {stage.stage: stage.error for stage in bundle.manifest.parity.stages}
    assert errors["patches"] == 0
    assert errors["features"] < 1e-4
    assert errors["greedy_ids"] == errors["verdict"] == 0


def test_the_device_verifies_the_bundle_without_torch(bundle: Bundle) -> None:
    report = verify_bundle(bundle.path)
    assert report.num_pairs == 1
    stages = [stage.stage for stage in report.stages]
    assert [stage for stage in stages if not stage.startswith("cached_")] == STAGES
    cached = {stage.stage: stage.error for stage in report.stages if stage.stage not in STAGES}
    assert set(cached) == {f"cached_{stage}" for stage in TOLERANCES if stage in STAGES}
    assert set(cached.values()) == {0}
    assert report.first_failure is None


def test_the_bundle_inspects(bundle: Bundle) -> None:
    inspector = Inspector.open(bundle.path)
    inspection = inspector.inspect(PAIRS[0].golden[:, :84], PAIRS[0].test[:, :84], task="all")
    assert inspection.precision == bundle.manifest.precision
    assert inspection.anomaly_map is not None


def test_the_embedding_is_a_memory_mapped_table(bundle: Bundle, checkpoint: Path) -> None:
    table = np.load(bundle.file("embedding.npy"), mmap_mode="r")
    source = open_checkpoint(checkpoint).tensor("language_model.embed_tokens.weight")
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, source)


@pytest.mark.parametrize(("vision", "llm"), [("int8", "fp32"), ("fp32", "int8"), ("int8", "int4")])
def test_quantized_bundles_are_smaller_and_stay_within_their_table(
    bundle: Bundle, checkpoint: Path, tmp_path: Path, vision: Precision, llm: Precision
) -> None:
    # Random weights put every verdict near one half, so that one of ten pairs may well flip.
    recipe = replace(RECIPE, vision=vision, llm=llm)
    quantized = export_bundle(checkpoint, tmp_path / "out", recipe, pairs=PAIRS)
    manifest = quantized.manifest
    assert manifest.graphs["vision"].precision == manifest.graphs["comparison"].precision == vision
    assert manifest.graphs["decoder"].precision == llm
    assert manifest.embedding.precision == ("fp32" if llm == "fp32" else "fp16")
    smaller = {"vision"} if vision == "int8" else set()
    smaller |= {"decoder"} if llm != "fp32" else set()
    for name in smaller:
        data = f"{name}.onnx.data"
        assert manifest.files[data].size_bytes < bundle.manifest.files[data].size_bytes / 2
    assert verify_bundle(quantized.path).first_failure is None


def test_a_stock_model_has_no_comparison(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "stock", is_stock=True)
    bundle = export_bundle(checkpoint, tmp_path / "out", RECIPE, pairs=PAIRS[:1])
    assert set(bundle.manifest.graphs) == {"vision", "decoder"}
    assert bundle.manifest.model.compare_token_size == 0
    assert bundle.manifest.parity is not None
    assert not {stage.stage for stage in bundle.manifest.parity.stages} & {
        "comparison_tokens",
        "anomaly_logits",
    }
    inspection = Inspector.open(bundle.path).inspect(PAIRS[0].golden, PAIRS[0].golden)
    assert inspection.anomaly_map is None


def test_the_same_checkpoint_gives_the_same_files(bundle: Bundle, checkpoint: Path, tmp_path: Path):
    again = export_bundle(
        checkpoint, tmp_path / "out", replace(RECIPE, max_new_tokens=64), pairs=PAIRS
    )
    assert again.id == bundle.id


def test_pairs_may_come_without_end(checkpoint: Path, tmp_path: Path) -> None:
    endless = (PAIRS[index % 2] for index in count())
    recipe = replace(RECIPE, num_parity_pairs=1)
    bundle = export_bundle(checkpoint, tmp_path / "out", recipe, pairs=endless)
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.num_pairs == 1


def test_progress_names_every_step(checkpoint: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    export_bundle(
        checkpoint,
        tmp_path / "out",
        RECIPE,
        pairs=PAIRS,
        on_step=lambda *event: seen.append(event),
    )
    steps = list(dict.fromkeys(step for step, _, _ in seen))
    assert steps == [
        "read",
        "decoder",
        "embedding",
        "vision",
        "comparison",
        "torch",
        "onnxruntime",
        "package",
    ]
    assert [event[1:] for event in seen if event[0] == "decoder"] == [(0, 2), (1, 2), (2, 2)]
    assert ("torch", 2, 2) in seen


def test_an_export_without_pairs_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one pair"):
        export_bundle(checkpoint, tmp_path / "out", RECIPE, pairs=[])


def test_a_graph_that_is_wrong_leaves_no_bundle(
    bundle: Bundle, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_wrong_sign(path, checkpoint, **arguments):
        settings = checkpoint.vision
        settings.compare_minus_residual = not settings.compare_minus_residual
        write_comparison_graph(path, checkpoint, **arguments)
        settings.compare_minus_residual = not settings.compare_minus_residual

    monkeypatch.setattr("adcopilot_edge.export.graphs.write_comparison_graph", write_wrong_sign)
    out = tmp_path / "out"
    with pytest.raises(ParityError, match="first at the stage 'comparison_tokens'"):
        export_bundle(checkpoint, out, RECIPE, pairs=PAIRS)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_older_bundle_and_the_next_run_goes_on(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, recipe = tmp_path / "out", replace(RECIPE, llm="int4")
    older = export_bundle(checkpoint, out, RECIPE, pairs=PAIRS)
    whole = export_bundle(checkpoint, tmp_path / "whole", recipe, pairs=PAIRS)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"{PIPELINE}.write_manifest", fail)
        # As in a process of its own, which is gone by the time of the next run.
        patch.setattr("os.getpid", lambda: 2**22 + 1)
        with pytest.raises(ExportError, match=r"No space left on device\. Make room"):
            export_bundle(checkpoint, out, recipe, pairs=PAIRS)
    assert Inspector.open(out).engine.bundle.id == older.id
    converted: list[str] = []
    monkeypatch.setattr(
        "adcopilot_edge.export.weights.Linear.chunks",
        lambda layer: converted.append(layer.name),
    )
    resumed = export_bundle(checkpoint, out, recipe, pairs=PAIRS)
    assert converted == []
    assert resumed.id == whole.id
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


@pytest.mark.parametrize(("vision", "llm"), [("fp32", "fp32"), ("int8", "int4")])
def test_a_model_larger_than_the_memory_gives_the_same_bundle(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    vision: Precision,
    llm: Precision,
) -> None:
    recipe = replace(RECIPE, vision=vision, llm=llm)
    whole = export_bundle(checkpoint, tmp_path / "whole", recipe, pairs=PAIRS)
    small = MemoryPlan(limit=1 << 30, torch_budget=300_000, piece_budget=60_000, peak=1 << 30)
    plan = plan_export(open_checkpoint(checkpoint), recipe)
    monkeypatch.setattr(f"{PIPELINE}.plan_export", lambda *_: replace(plan, memory=small))
    pieces = export_bundle(checkpoint, tmp_path / "pieces", recipe, pairs=PAIRS)
    assert pieces.manifest.parity == whole.manifest.parity
    assert pieces.id == whole.id


def test_something_else_at_out_is_left_alone(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is no bundle"):
        export_bundle(checkpoint, tmp_path, RECIPE, pairs=PAIRS)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(("vision", "llm"), [("fp32", "fp32"), ("int8", "int4")])
def test_the_plan_is_what_is_written(
    checkpoint: Path, tmp_path: Path, vision: Precision, llm: Precision
) -> None:
    recipe = replace(RECIPE, image_width=112, vision=vision, llm=llm, num_parity_pairs=1)
    plan = plan_export(open_checkpoint(checkpoint), recipe)
    bundle = export_bundle(checkpoint, tmp_path / "out", recipe, pairs=PAIRS[:1])
    written = {name: entry.size_bytes for name, entry in bundle.manifest.files.items()}
    assert set(plan.files) == set(written)
    for name, size in written.items():
        assert plan.files[name] == pytest.approx(size, rel=0.1, abs=64_000), name
    assert json.loads(json.dumps(plan.to_json()))["total_bytes"] == plan.total


@pytest.mark.parametrize(
    ("target", "vision", "llm"),
    [
        ("cuda", "fp16", "int4"),
        ("cuda", "fp16", "fp16"),
        ("cuda", "fp32", "int8"),
        ("tensorrt", "fp16", "int4"),
        ("tensorrt", "int8", "int8"),
    ],
)
def test_what_a_gpu_runs_is_proven_on_the_cpu(
    checkpoint: Path, tmp_path: Path, target: Target, vision: Precision, llm: Precision
) -> None:
    recipe = replace(RECIPE, target=target, vision=vision, llm=llm)
    seen = CalibrationPairs("generated boards", PAIRS)
    bundle = export_bundle(checkpoint, tmp_path / "b", recipe, pairs=PAIRS, calibration=seen)
    manifest = bundle.manifest
    assert manifest.target == target
    assert manifest.precision == f"vision-{vision}+comparison-{vision}+decoder-{llm}"
    assert ("ranges.json" in manifest.files) == (vision != "fp32")
    assert manifest.parity is not None
    found = {stage.stage: stage.error for stage in manifest.parity.stages}
    # Not what a float32 graph gives, and yet near it.
    low, high = {"fp32": (0, 1e-5), "fp16": (1e-4, 3e-3), "int8": (3e-3, 0.2)}[vision]
    assert low <= found["features"] < high
    assert verify_bundle(bundle.path).first_failure is None
