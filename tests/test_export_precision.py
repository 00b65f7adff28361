"""What stays in float32 because of its ranges, and what happens to a checkpoint that needs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from tiny import save_tiny, tiny_config, tiny_model

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.fused import FUSED
from adcopilot_edge.export.half import HalfForm
from adcopilot_edge.export.linear import DynamicInt8Form, FloatForm
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.precision import NO_RANGES, VisionStyle, vision_style
from adcopilot_edge.export.qdq import QdqForm
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.standard import StandardDialect
from adcopilot_edge.export.static import StaticInt8Form
from adcopilot_edge.export.tolerances import stage_tolerances
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.manifest import GraphName, Target
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.engines.api import Api
from adcopilot_edge.runtime.engines.build import BuildOptions, build_engine, plan_builds
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch

HALF = ExportRecipe(
    image_height=56,
    image_width=84,
    target="tensorrt",
    vision="fp16",
    llm="fp16",
    num_parity_pairs=1,
    max_new_tokens=2,
)
AMPERE = BuildOptions(capabilities=((8, 6),))
PAIRS = [generate_pair(seed, size=112).to_labelled() for seed in range(2)]
CALIBRATION = CalibrationPairs("generated boards", PAIRS)
GRID = (4, 6)
LAST = "visual.blocks.2.mlp.down_proj"


def ranges(**bounds: float) -> Ranges:
    """Ranges of a layer ``a`` and an attention ``b`` that reach ``bounds``, all else being 1."""
    known = {"a.input": 1.0, "a.output": 1.0, "b.window0.scores": 1.0, "b.window1.scores": 1.0}
    known |= {name.replace("_", "."): bound for name, bound in bounds.items()}
    return Ranges("4 pairs", 4, {name: (-bound, bound / 2) for name, bound in known.items()})


@pytest.mark.parametrize(
    ("target", "vision", "form", "dialect"),
    [
        ("cpu", "fp32", FloatForm, type(FUSED)),
        ("cpu", "int8", DynamicInt8Form, type(FUSED)),
        ("cuda", "fp32", FloatForm, type(FUSED)),
        ("cuda", "fp16", HalfForm, type(FUSED)),
        ("tensorrt", "fp16", HalfForm, StandardDialect),
        ("tensorrt", "int8", QdqForm, StandardDialect),
    ],
)
def test_form_and_dialect_of_each_target(
    target: Target, vision: Precision, form: type, dialect: type
) -> None:
    style = vision_style(replace(HALF, target=target, vision=vision, llm=llm_of(target)), ranges())
    assert type(style.form) is form
    assert type(style.dialect) is dialect
    assert style.form.precision == vision
    assert style.exact == ()


def test_int8_on_a_cpu_has_two_forms() -> None:
    cpu = replace(HALF, target="cpu", vision="int8", llm="fp32")
    assert (cpu.vision_form, cpu.needs_ranges) == ("dynamic", False)
    static = replace(cpu, int8_form="static")
    assert (static.vision_form, static.needs_ranges) == ("static", True)
    # Nothing near the end of float16 matters there.
    assert vision_style(static, ranges(a_input=9e9)) == VisionStyle(
        StaticInt8Form(ranges(a_input=9e9)), FUSED
    )
    assert replace(HALF, vision="int8").vision_form == "static"
    assert HALF.vision_form is None


def llm_of(target: Target) -> Precision:
    return "fp32" if target == "cpu" else "fp16"


@pytest.mark.parametrize("end", ["input", "output"])
def test_a_layer_near_the_end_of_float16_is_exact(end: str) -> None:
    (module,) = vision_style(HALF, ranges(**{f"a_{end}": 9000.0})).exact
    assert module.name == "a"
    assert module.reason == f"its {end} reaches 9e+03 on 4 pairs; float16 ends at 65504"
    assert vision_style(HALF, ranges(**{f"a_{end}": 8000.0})).exact == ()


def test_an_attention_of_large_scores_is_exact_for_tensorrt() -> None:
    seen = ranges(b_window1_scores=70.0)
    style = vision_style(HALF, seen)
    (module,) = style.exact
    assert module.name == "b"
    assert module.reason == "its scores reach 70 on 4 pairs; float16 is too coarse there"
    assert style.dialect == StandardDialect(frozenset({"b"}))
    assert vision_style(HALF, ranges(b_window1_scores=60.0)).exact == ()
    # onnxruntime's kernels keep scores in float32 themselves.
    assert vision_style(replace(HALF, target="cuda"), seen).exact == ()


def test_an_exact_layer_in_int8_has_float32_around_it() -> None:
    style = vision_style(replace(HALF, vision="int8"), ranges(a_input=9000.0))
    assert isinstance(style.form, QdqForm)
    assert style.form.floats == HalfForm(frozenset({"a"}))


def test_each_graph_gets_its_own() -> None:
    names = ("visual.merger.mlp.0", "visual.patch_embed.proj", LAST)
    comparison = "visual.compare_visual_encoder.compare_projector"
    table = {f"{name}.{end}": (-9e4, 0.0) for name in (*names, comparison) for end in ENDS}
    style = vision_style(HALF, Ranges("4 pairs", 4, table))

    def exact_of(graph: GraphName) -> list[str]:
        return [module.name for module in style.exact_of(graph)]

    assert exact_of("vision") == [LAST, *names[:2]]
    assert exact_of("comparison") == [comparison]


ENDS = ("input", "output")


def test_sizes_are_known_before_anything_was_seen() -> None:
    assert vision_style(replace(HALF, vision="int8"), NO_RANGES).form.weight_bytes(10, 20) == 220


# The rest is a checkpoint whose last down-projection is too large for float16.


@pytest.fixture(scope="module")
def model() -> ADCopilotForConditionalGeneration:
    model = tiny_model(tiny_config())
    with torch.no_grad():
        model.get_parameter(f"model.{LAST}.weight").mul_(1e5 / 4)
    return model


@pytest.fixture(scope="module")
def checkpoint(
    model: ADCopilotForConditionalGeneration, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return save_tiny(tmp_path_factory.mktemp("large") / "checkpoint", model)


@pytest.fixture(scope="module", params=["fp16", "int8"])
def bundle(
    request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    out = tmp_path_factory.mktemp("bundles") / "bundle"
    recipe = replace(HALF, vision=request.param)
    return export_bundle(checkpoint, out, recipe, pairs=PAIRS, calibration=CALIBRATION)


def test_the_manifest_says_what_is_exact_and_why(bundle: Bundle) -> None:
    exact = {module.name: module.reason for module in bundle.manifest.graphs["vision"].exact}
    assert LAST in exact
    assert "its output reaches" in exact[LAST]
    assert "on 2 pairs of generated boards; float16 ends at 65504" in exact[LAST]
    assert bundle.manifest.graphs["decoder"].exact == ()
    assert "ranges.json" in bundle.manifest.files


def test_its_engines_are_what_the_manifest_says(bundle: Bundle, rtx: Api) -> None:
    for plan in plan_builds(bundle, rtx, AMPERE):
        record = build_engine(bundle, plan, rtx, AMPERE)
        assert record.precision == bundle.manifest.graphs[plan.graph].precision


def test_without_the_check_it_overflows(
    tmp_path: Path, model: ADCopilotForConditionalGeneration, checkpoint: Path
) -> None:
    patches = np.random.default_rng(1).standard_normal((24, 1176)).astype(np.float32)
    opened = open_checkpoint(checkpoint)
    plain = emulate(tmp_path / "plain.onnx", opened, HalfForm(), patches)
    assert not np.isfinite(plain).all()
    # The sum of all blocks is as large from here on, so the merger's norm is what brings it back.
    kept = emulate(tmp_path / "kept.onnx", opened, HalfForm(frozenset({LAST})), patches)
    expected = torch_features(model, patches)
    assert np.abs(kept - expected).max() / np.abs(expected).max() < HALF_TOLERANCE


def test_float16_stays_within_its_tolerance(tmp_path: Path) -> None:
    """In real float16 arithmetic, which onnxruntime does not do on a CPU."""
    model = tiny_model(tiny_config())
    opened = open_checkpoint(save_tiny(tmp_path / "checkpoint", model))
    patches = np.random.default_rng(1).standard_normal((24, 1176)).astype(np.float32)
    actual = emulate(tmp_path / "vision.onnx", opened, HalfForm(), patches)
    expected = torch_features(model, patches)
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert 1e-4 < error < HALF_TOLERANCE / 10  # 0.001 here


HALF_TOLERANCE = stage_tolerances(HALF, [{"features": np.zeros(1)}])["features"].limit


def emulate(path: Path, checkpoint: Checkpoint, form: HalfForm, patches: FloatArray) -> FloatArray:
    """The features as numpy computes the graph, operator by operator, in the types it says."""
    write_vision_graph(path, checkpoint, grid=GRID, form=form, dialect=StandardDialect())
    with np.errstate(over="ignore", invalid="ignore"):
        features, _ = ReferenceEvaluator(str(path)).run(None, {"patches": patches})
    return np.asarray(features)


def torch_features(model: ADCopilotForConditionalGeneration, patches: FloatArray) -> FloatArray:
    tower, grid = model.model.visual, torch.tensor([[1, *GRID]])
    with torch.no_grad():
        outputs = tower(torch.from_numpy(patches), grid_thw=grid)
        return tower.to_patch_order(outputs.last_hidden_state, grid).numpy()


def test_without_pairs_there_is_no_float16(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs pairs to take ranges from: .*--calib"):
        export_bundle(checkpoint, tmp_path / "out", HALF, pairs=PAIRS)
