"""The proof itself: a wrong weight anywhere is found, and the stage it shows at first is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny import tiny_checkpoint

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import ParityError
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.describe import read_tokenizer
from adcopilot_edge.export.parity import compare_pairs, require_passed
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.reference import TorchReference
from adcopilot_edge.export.tolerances import stage_tolerances
from adcopilot_edge.manifest import StageParity
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.ladder import Stages, run_ladder
from adcopilot_edge.training.synthetic import generate_pair

pytestmark = pytest.mark.torch

NUM_IDS = 16
RECIPE = ExportRecipe(image_height=112, image_width=112, num_parity_pairs=1, max_new_tokens=NUM_IDS)
# Larger than the bundle, so that the resize has something to do.
PAIR = generate_pair(3, size=140).to_labelled()
ENCODER = "visual.compare_visual_encoder"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundles") / "fp32"
    return export_bundle(checkpoint, out, RECIPE, pairs=[PAIR])


@pytest.fixture(scope="module")
def reference(checkpoint: Path, bundle: Bundle) -> Stages:
    opened = open_checkpoint(checkpoint)
    model = TorchReference(opened, bundle.manifest, read_tokenizer(opened), budget_bytes=1 << 30)
    return model.stages(PAIR.golden, PAIR.test, max_new_tokens=NUM_IDS)


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return shutil.copytree(bundle.path, tmp_path / "copy")


def run(folder: Path) -> Stages:
    inspector = Inspector.open(folder, verify=False, num_threads=1)
    return run_ladder(inspector, PAIR.golden, PAIR.test, max_new_tokens=NUM_IDS)


def judge(
    recipe: ExportRecipe, references: Sequence[Stages], actuals: Sequence[Stages]
) -> tuple[StageParity, ...]:
    stages = compare_pairs(recipe, references, actuals)
    require_passed(stages, len(references))
    return stages


def scale_tensor(folder: Path, graph: str, tensor: str) -> None:
    """Make one weight of a graph 10 % too large, in its data file."""
    model = onnx.load(folder / f"{graph}.onnx", load_external_data=False)
    (found,) = [item for item in model.graph.initializer if item.name == tensor]
    place = {entry.key: entry.value for entry in found.external_data}
    count = int(place["length"]) // 4
    with (folder / place["location"]).open("r+b") as file:
        file.seek(int(place["offset"]))
        values = np.frombuffer(file.read(4 * count), np.float32)
        file.seek(int(place["offset"]))
        file.write((values * np.float32(1.1)).tobytes())


def test_an_honest_bundle_passes(bundle: Bundle, reference: Stages) -> None:
    stages = judge(RECIPE, [reference], [run(bundle.path)])
    assert all(stage.passed for stage in stages)


@pytest.mark.parametrize(
    ("graph", "tensor", "stage"),
    [
        ("vision", "visual.patch_embed.proj.weight", "patch_embed"),
        ("vision", "visual.blocks.0.attn.qkv.weight", "block_0"),
        ("vision", "visual.blocks.1.mlp.gate_up.weight", "block_1"),
        ("vision", "visual.merger.mlp.2.weight", "tokens"),
        ("comparison", f"{ENCODER}.encoder_cross_attn1.kv.weight", "comparison_tokens"),
        ("comparison", f"{ENCODER}.compare_projector.weight", "comparison_tokens"),
        ("comparison", f"{ENCODER}.anomaly_map.weight", "anomaly_logits"),
        ("decoder", "language_model.layers.0.self_attn.qkv.weight", "logits"),
        ("decoder", "lm_head.weight", "logits"),
    ],
)
def test_a_wrong_weight_is_found_where_it_shows(
    copy: Path, reference: Stages, graph: str, tensor: str, stage: str
) -> None:
    scale_tensor(copy, graph, tensor)
    with pytest.raises(ParityError, match=f"first at the stage '{stage}'") as caught:
        judge(RECIPE, [reference], [run(copy)])
    for name in ("patches", "features", "logits", "verdict"):
        assert f"{name} " in str(caught.value)


def test_wrong_preprocessing_shows_at_the_patches(copy: Path, reference: Stages) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["preprocessing"]["image_mean"][0] += 0.01
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ParityError, match="first at the stage 'patches'"):
        judge(RECIPE, [reference], [run(copy)])


def test_a_wrong_resize_shows_first(copy: Path, reference: Stages) -> None:
    stages = {**run(copy), "resize": np.roll(reference["resize"], 1, axis=0)}
    with pytest.raises(ParityError, match="first at the stage 'resize'"):
        judge(RECIPE, [reference], [stages])


def test_mismatches_add_up_over_pairs(reference: Stages) -> None:
    flipped = {**reference, "verdict": 1 - reference["verdict"]}
    recipe = replace(RECIPE, vision="int8")
    with pytest.raises(ParityError, match="'verdict': mismatches 2, allowed 1"):
        judge(recipe, [reference] * 10, [flipped] * 2 + [reference] * 8)
    stages = judge(recipe, [reference] * 10, [flipped] + [reference] * 9)
    assert stages[-1].error == 1


def test_a_stage_that_one_side_lacks_fails(reference: Stages) -> None:
    lacking = {name: array for name, array in reference.items() if name != "anomaly_logits"}
    with pytest.raises(ParityError, match="'anomaly_logits': max_abs inf"):
        judge(RECIPE, [reference], [lacking])


def test_features_are_judged_by_their_own_scale(reference: Stages) -> None:
    limit = stage_tolerances(RECIPE, [reference])["features"]
    assert limit.metric == "max_rel"
    assert limit.limit <= 1e-4


@pytest.mark.parametrize("vision", ["fp32", "int8"])
@pytest.mark.parametrize("llm", ["fp32", "int8", "int4"])
def test_a_coarser_precision_never_has_the_narrower_table(
    reference: Stages, vision: Precision, llm: Precision
) -> None:
    table = stage_tolerances(replace(RECIPE, vision=vision, llm=llm), [reference])
    exact = stage_tolerances(RECIPE, [reference])
    assert list(table) == list(exact)
    assert table["patches"] == exact["patches"]
    if vision == "fp32":
        assert table["features"] == exact["features"]
    if (vision, llm) != ("fp32", "fp32"):
        assert table["logits"].metric == "max_rel"
        int8_alone = stage_tolerances(replace(RECIPE, llm="int8"), [reference])
        assert table["logits"].limit >= int8_alone["logits"].limit
