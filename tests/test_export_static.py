"""Linear layers in static INT8 for the CPU: the levels, the product, a bundle of such layers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from layers import draw_rows, exact, ours, write_layer
from tiny import open_session, tiny_checkpoint

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.calibration.clipping import Clip
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.errors import CalibrationError, ParityError
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.linear import WEIGHT_LIMIT, DynamicInt8Form, FloatForm
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.plan import plan_export
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.static import StaticInt8Form, input_levels
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.runtime.levels import levels_of
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch

NAME = "visual.blocks.0.attn.qkv"
RECIPE = ExportRecipe(
    image_height=56,
    image_width=84,
    vision="int8",
    int8_form="static",
    num_parity_pairs=2,
    max_new_tokens=2,
)
PAIRS = [generate_pair(seed, size=112).to_labelled() for seed in range(2)]


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Linear:
    return replace(write_layer(tmp_path_factory.mktemp("layer")), name=NAME)


@pytest.fixture(scope="module")
def rows() -> FloatArray:
    """Inputs that are mostly positive, as what comes out of a gate is."""
    return draw_rows() + np.float32(1.5)


def ranges(low: float, high: float, clip: Clip | None = None) -> Ranges:
    clips = {} if clip is None else {f"{NAME}.input": clip}
    return Ranges("2 pairs", 2, {f"{NAME}.input": (low, high)}, clips)


def seen(rows: FloatArray) -> Ranges:
    return ranges(float(rows.min()), float(rows.max()))


def error(actual: FloatArray, layer: Linear, rows: FloatArray) -> float:
    expected = exact(layer, rows)
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(
    ("low", "high"), [(-3.0, 5.0), (0.5, 5.0), (-5.0, -0.5), (-1e-6, 7e4), (0.0, 0.0)]
)
def test_levels_hold_the_range_and_zero(low: float, high: float) -> None:
    levels = levels_of(low, high)
    assert 0 <= levels.zero <= 255
    assert levels.scale == np.float32(levels.scale) > 0
    # The zero point is a whole level, so either end may be half a step short.
    slack = 0.5000001 * levels.scale
    assert levels.low <= min(low, 0.0) + slack
    assert levels.high >= max(high, 0.0) - slack
    assert levels.scale <= 2 * max(-low, high) / 255 + 1e-37


def test_it_is_the_product_of_the_levels(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    actual = ours(tmp_path / "graph.onnx", StaticInt8Form(seen(rows)), layer, rows)
    levels = input_levels(seen(rows), f"{NAME}.input")
    quantized = np.clip(np.rint(rows / np.float32(levels.scale)) + levels.zero, 0, 255)
    matrix, bias = layer.matrix().astype(np.float64), layer.bias()
    assert bias is not None
    steps = np.abs(matrix).max(axis=1, keepdims=True) / WEIGHT_LIMIT
    values = (quantized - levels.zero) * levels.scale
    expected = values @ (np.rint(matrix / steps) * steps).T + bias
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)
    assert 1e-4 < error(actual, layer, rows) < 0.02


def test_a_zero_point_beats_levels_around_zero(
    tmp_path: Path, layer: Linear, rows: FloatArray
) -> None:
    low, high = float(rows.min()), float(rows.max())
    both = ours(tmp_path / "both.onnx", StaticInt8Form(ranges(low, high)), layer, rows)
    around = ours(tmp_path / "around.onnx", StaticInt8Form(ranges(-high, high)), layer, rows)
    assert error(both, layer, rows) < error(around, layer, rows)


def test_a_wrong_range_shows(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    def off(scale: float) -> float:
        wrong = ranges(float(rows.min()) * scale, float(rows.max()) * scale)
        name = tmp_path / f"{scale}.onnx"
        return error(ours(name, StaticInt8Form(wrong), layer, rows), layer, rows)

    assert off(1) < 0.02
    assert off(0.1) > 0.5  # clipped
    assert off(1000) > 0.5  # all in one level


def test_levels_end_where_the_calibration_clips(rows: FloatArray) -> None:
    clipped = input_levels(ranges(-1.0, 8.0, Clip(4.0, "mse")), f"{NAME}.input")
    assert clipped == levels_of(-1.0, 4.0)
    assert input_levels(ranges(-1.0, 8.0), f"{NAME}.input") == levels_of(-1.0, 8.0)


def test_the_largest_sums_fit_into_int16(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    ours(tmp_path / "graph.onnx", StaticInt8Form(seen(rows)), layer, rows)
    graph = onnx.load(tmp_path / "graph.onnx").graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    levels = tensors[f"{NAME}.weight"].astype(int)
    # Without VNNI, x86 adds two products of a UINT8 and an INT8 in int16, and saturates.
    assert np.abs(255 * levels[0::2]).max() + np.abs(255 * levels[1::2]).max() <= 32767
    assert np.abs(levels).max() == WEIGHT_LIMIT


def test_other_layers_stay_in_float32(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    other = replace(layer, name="visual.merger.mlp.0")
    actual = ours(tmp_path / "actual.onnx", StaticInt8Form(Ranges("none", 0, {})), other, rows)
    expected = ours(tmp_path / "expected.onnx", FloatForm(), other, rows)
    np.testing.assert_array_equal(actual, expected)


def test_a_range_that_is_missing(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    with pytest.raises(CalibrationError, match=rf"no range of {NAME}\.input is known"):
        ours(tmp_path / "graph.onnx", StaticInt8Form(Ranges("none", 0, {})), layer, rows)


def test_other_levels_can_be_put_in_when_the_graph_opens(
    tmp_path: Path, layer: Linear, rows: FloatArray
) -> None:
    path = tmp_path / "graph.onnx"
    ours(path, StaticInt8Form(ranges(-0.1, 0.1)), layer, rows)
    expected = ours(tmp_path / "right.onnx", StaticInt8Form(seen(rows)), layer, rows)
    levels = input_levels(seen(rows), f"{NAME}.input")
    values = {"scale": np.array(levels.scale, np.float32), "zero": np.array(levels.zero, np.uint8)}
    options = onnxruntime.SessionOptions()
    options.add_external_initializers(
        [f"{NAME}.input_{what}" for what in values],
        [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in values.values()],
    )
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (actual,) = session.run(None, {"rows": rows})
    np.testing.assert_array_equal(actual, expected)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


def export(checkpoint: Path, out: Path, recipe: ExportRecipe = RECIPE) -> Bundle:
    calibration = CalibrationPairs("generated boards", PAIRS)
    return export_bundle(checkpoint, out, recipe, pairs=PAIRS, calibration=calibration)


def test_a_bundle_is_proven_and_says_its_form(checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(checkpoint, tmp_path / "bundle")
    graphs = bundle.manifest.graphs
    assert [graphs[name].form for name in ("vision", "comparison", "decoder")] == [
        "static",
        "static",
        None,
    ]
    assert bundle.manifest.precision == "vision-int8+comparison-int8+decoder-fp32"
    assert bundle.manifest.parity is not None
    errors = {stage.stage: stage.error for stage in bundle.manifest.parity.stages}
    assert errors["patch_embed"] < 1e-4 < errors["block_0"]  # float32 before, INT8 from there on
    nodes = onnx.load(bundle.file("vision.onnx"), load_external_data=False).graph.node
    assert sum(node.op_type == "MatMulIntegerToFloat" for node in nodes) == 3 * 4
    content = json.loads((bundle.path / "manifest.json").read_text())
    del content["graphs"]["vision"]["form"]  # as a bundle of an older release
    assert type(bundle.manifest).model_validate(content).graphs["vision"].form is None


def test_levels_far_too_small_are_refused_by_the_proof(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "adcopilot_edge.export.static.input_levels", lambda *_: levels_of(-0.01, 0.01)
    )
    with pytest.raises(ParityError, match="block_0"):
        export(checkpoint, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_sizes_are_estimated_layer_by_layer(checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(checkpoint, tmp_path / "bundle", replace(RECIPE, is_proven=False))
    plan = plan_export(open_checkpoint(checkpoint), RECIPE)
    for name in ("vision.onnx.data", "comparison.onnx.data"):
        assert bundle.file(name).stat().st_size == pytest.approx(plan.files[name], rel=0.05)


def test_smoothing_and_clips_work_with_it(checkpoint: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, smooth=True, calib_method="mse", is_proven=False)
    bundle = export(checkpoint, tmp_path / "bundle", recipe)
    assert {"smoothing.json", "ranges.json"} <= set(bundle.manifest.files)
    table = json.loads(bundle.file("ranges.json").read_text())["ranges"]
    assert table[f"{NAME}.input"]["method"] == "mse"


def test_dynamic_and_static_share_their_weights(
    tmp_path: Path, layer: Linear, rows: FloatArray
) -> None:
    dynamic = ours(tmp_path / "dynamic.onnx", DynamicInt8Form(), layer, rows)
    static = ours(tmp_path / "static.onnx", StaticInt8Form(seen(rows)), layer, rows)
    # One call's range is that of the calibration here.
    np.testing.assert_allclose(dynamic, static, atol=1e-4)


def test_twins_tell_the_ranges_of_what_goes_in(checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(checkpoint, tmp_path / "bundle", replace(RECIPE, is_proven=False))
    graphs = bundle.manifest.graphs
    assert (graphs["vision"].ranges, graphs["comparison"].ranges) == (
        "vision.ranges.onnx",
        "comparison.ranges.onnx",
    )
    plain = open_session(bundle.file("vision.onnx"))
    twin = open_session(bundle.file("vision.ranges.onnx"))
    patches = np.random.default_rng(0).standard_normal((24, 1176)).astype(np.float32)
    outputs = dict(
        zip(
            (one.name for one in twin.get_outputs()),
            twin.run(None, {"patches": patches}),
            strict=True,
        )
    )
    expected = plain.run(None, {"patches": patches})
    np.testing.assert_array_equal(outputs.pop("features"), expected[0])
    np.testing.assert_array_equal(outputs.pop("tokens"), expected[1])
    assert len(outputs) == 2 * 3 * 4
    assert outputs[f"{NAME}.input.min"] < 0 < outputs[f"{NAME}.input.max"]
    probes = [one.name for one in open_session(bundle.file("vision.probes.onnx")).get_outputs()]
    assert probes == ["features", "tokens", "patch_embed", "block_0", "block_1", "block_2"]
