"""Linear layers in explicit INT8: what is quantized, and how near it stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from safetensors.numpy import save_file
from tiny import open_session, tiny_checkpoint

from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.errors import CalibrationError
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.comparison import write_comparison_graph
from adcopilot_edge.export.float_run import WatchedForm
from adcopilot_edge.export.graph import new_graph
from adcopilot_edge.export.half import HalfForm
from adcopilot_edge.export.qdq import QdqForm, is_quantized, quantize_rows
from adcopilot_edge.export.standard import StandardDialect
from adcopilot_edge.export.tensors import TensorEntry
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch

INPUTS, OUTPUTS, BATCH = 80, 24, 7
NAME = "visual.blocks.0.attn.proj"


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Linear:
    folder = tmp_path_factory.mktemp("layer")
    rng = np.random.default_rng(0)
    # Rows of very different size: one scale for all would round the small ones away.
    weight = rng.standard_normal((OUTPUTS, INPUTS)) * np.geomspace(1e-2, 10, OUTPUTS)[:, None]
    tensors = {
        f"{NAME}.weight": weight.astype(np.float32),
        f"{NAME}.bias": rng.standard_normal(OUTPUTS).astype(np.float32),
    }
    path = folder / "model.safetensors"
    save_file(tensors, path)
    entries = {name: TensorEntry(path, name, array.shape, "F32") for name, array in tensors.items()}
    return Linear(Checkpoint(folder, "ad_copilot", ADCopilotConfig(), entries), NAME, (NAME,))


@pytest.fixture(scope="module")
def rows() -> FloatArray:
    return np.random.default_rng(1).uniform(-3, 3, (BATCH, INPUTS)).astype(np.float32)


def ranges(bound: float) -> Ranges:
    return Ranges("2 pairs", 2, {f"{NAME}.input": (-bound / 2, bound)})


def run(path: Path, form: QdqForm, layer: Linear, rows: FloatArray) -> FloatArray:
    with new_graph(path) as graph:
        value = graph.input("rows", rows.shape)
        product = form.apply(graph, value, layer)
        assert product.dtype == form.operand(layer)
        graph.output(product, "product", (len(rows), layer.shape[0]))
    (product,) = open_session(path).run(None, {"rows": rows})
    return np.asarray(product)


def emulated(layer: Linear, rows: FloatArray, bound: float, dtype: type) -> FloatArray:
    """The same in numpy: levels of both sides, the product in float64."""
    step = np.float64(dtype(bound / 127))
    inputs = np.clip(np.rint(rows.astype(dtype).astype(np.float64) / step), -128, 127) * step
    matrix = layer.matrix().astype(np.float64)
    steps = (np.abs(matrix).max(axis=1) / 127).astype(dtype).astype(np.float64)[:, None]
    bias = layer.bias()
    assert bias is not None
    return inputs @ (np.rint(matrix / steps) * steps).T + bias


@pytest.mark.parametrize("is_exact", [False, True])
def test_it_is_the_product_of_the_levels(
    tmp_path: Path, layer: Linear, rows: FloatArray, is_exact: bool
) -> None:
    floats = HalfForm(frozenset({NAME}) if is_exact else frozenset())
    actual = run(tmp_path / "graph.onnx", QdqForm(floats, ranges(3)), layer, rows)
    expected = emulated(layer, rows, 3, np.float32 if is_exact else np.float16)
    # float16 has steps of 1/8 around the largest values, and the dequantized operands are rounded
    # to it; in float32 only sums differ, but for a value at the edge of two levels.
    tolerance = 1e-3 if is_exact else 0.5
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def test_small_rows_keep_their_digits(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    form = QdqForm(HalfForm(frozenset({NAME})), ranges(3))
    actual = run(tmp_path / "graph.onnx", form, layer, rows)
    bias = layer.bias()
    assert bias is not None
    expected = rows @ layer.matrix().T
    errors = np.linalg.norm(actual - bias - expected, axis=0) / np.linalg.norm(expected, axis=0)
    # Half a level of 127 on both sides; with one scale for all rows it would be everything.
    assert errors.max() < 0.05


def test_a_wrong_range_shows(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    exact = rows @ layer.matrix().T

    def error(bound: float) -> float:
        form = QdqForm(HalfForm(frozenset({NAME})), ranges(bound))
        actual = run(tmp_path / f"{bound}.onnx", form, layer, rows)
        return float(np.linalg.norm(actual - exact) / np.linalg.norm(exact))

    assert error(3) < 0.1  # the bias, which `exact` lacks, and INT8
    assert error(0.3) > 0.5  # clipped
    assert error(3000) > 0.5  # all in one level


def test_the_file_has_levels_and_scales(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    form = QdqForm(HalfForm(), ranges(3))
    run(tmp_path / "graph.onnx", form, layer, rows)
    graph = onnx.load(tmp_path / "graph.onnx").graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert tensors[f"{NAME}.weight_levels"].dtype == np.int8
    assert np.abs(tensors[f"{NAME}.weight_levels"].astype(int)).max(axis=1).tolist() == [127] * 24
    assert tensors[f"{NAME}.weight_scale"].dtype == np.float16
    assert tensors[f"{NAME}.input_scale"] == np.float16(3 / 127)
    assert tensors[f"{NAME}.input_zero"] == np.int8(0)
    assert form.weight_bytes(OUTPUTS, INPUTS) == OUTPUTS * INPUTS + 2 * OUTPUTS
    dequantize = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    assert [len(node.input) for node in dequantize] == [2, 2]  # no zero point


def test_a_range_that_is_missing(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    with pytest.raises(CalibrationError, match=rf"no range of {NAME}\.input is known"):
        run(tmp_path / "graph.onnx", QdqForm(HalfForm(), Ranges("none", 0, {})), layer, rows)


def test_a_layer_that_is_always_zero(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    form = QdqForm(HalfForm(), ranges(0))
    assert np.isfinite(run(tmp_path / "graph.onnx", form, layer, rows)).all()
    levels, scales = quantize_rows(np.zeros((2, 4), np.float32), ir.DataType.FLOAT16)
    assert not levels.any()
    assert (scales > 0).all()


@pytest.mark.parametrize("value", [1e-9, 1e-6, 1.0, 6e4])
def test_levels_are_those_of_the_rounded_scales(value: float) -> None:
    rows = np.linspace(-value, value, 64, dtype=np.float32)[None]
    levels, scales = quantize_rows(rows, ir.DataType.FLOAT16)
    assert np.abs(levels.astype(int)).max() <= 127
    # Half a level, and a thousandth of the whole where the scale was rounded down and clips.
    error = np.abs(levels * scales.astype(np.float32)[:, None] - rows)
    assert error.max() <= 0.5 * float(scales[0]) + value / 1000


def test_which_layers_are_quantized(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(tiny_checkpoint(tmp_path / "checkpoint"))
    seen: list[str] = []

    spy = WatchedForm(lambda _, layer, *__: seen.append(layer.name))
    write_vision_graph(
        tmp_path / "vision.onnx", checkpoint, grid=(4, 4), form=spy, dialect=StandardDialect()
    )
    write_comparison_graph(
        tmp_path / "comparison.onnx", checkpoint, grid=(4, 4), form=spy, dialect=StandardDialect()
    )
    left_out = [name for name in seen if not is_quantized(name)]
    assert left_out == [
        "visual.patch_embed.proj",
        "visual.merger.mlp.0",
        "visual.merger.mlp.2",
        "visual.compare_visual_encoder.compare_projector",
    ]
    assert len(seen) == 3 * 4 + 3 + 3 * 5 + 1
