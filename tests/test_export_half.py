"""Linear layers in float16, and in float32 where float16 can't hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save_file
from tiny import open_session

from adcopilot_edge.errors import CheckpointError
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.graph import new_graph
from adcopilot_edge.export.half import HALF_MAX, HalfForm, to_half
from adcopilot_edge.export.tensors import TensorEntry
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch

INPUTS, OUTPUTS, BATCH = 80, 24, 7


def linear(folder: Path, weight: FloatArray, bias: FloatArray | None = None) -> Linear:
    tensors = {"layer.weight": weight} | ({} if bias is None else {"layer.bias": bias})
    path = folder / "model.safetensors"
    save_file(tensors, path)
    entries = {name: TensorEntry(path, name, array.shape, "F32") for name, array in tensors.items()}
    return Linear(Checkpoint(folder, "ad_copilot", ADCopilotConfig(), entries), "layer", ("layer",))


@pytest.fixture
def layer(tmp_path: Path) -> Linear:
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((OUTPUTS, INPUTS)), rng.standard_normal(OUTPUTS)
    return linear(tmp_path, weight.astype(np.float32), bias.astype(np.float32))


def run(path: Path, form: HalfForm, layer: Linear, rows: FloatArray) -> FloatArray:
    with new_graph(path) as graph:
        value = graph.input("rows", rows.shape)
        product = form.apply(graph, value, layer)
        assert product.dtype == form.operand(layer)
        graph.output(product, "product", (len(rows), OUTPUTS))
    (product,) = open_session(path).run(None, {"rows": rows})
    return np.asarray(product)


def test_it_is_the_product_of_the_rounded_operands(tmp_path: Path, layer: Linear) -> None:
    rows = np.random.default_rng(1).standard_normal((BATCH, INPUTS), dtype=np.float32)
    actual = run(tmp_path / "graph.onnx", HalfForm(), layer, rows)
    bias = layer.bias()
    assert bias is not None
    operands = [array.astype(np.float16).astype(np.float64) for array in (rows, layer.matrix())]
    expected = operands[0] @ operands[1].T + bias.astype(np.float16)
    # The result is rounded to float16 once or twice: values up to 32 have steps of 1/64 there.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2 / 64)
    size = (tmp_path / "graph.onnx.data").stat().st_size
    assert size == HalfForm().weight_bytes(OUTPUTS, INPUTS) == 2 * OUTPUTS * INPUTS


def test_an_exact_layer_is_float32_throughout(tmp_path: Path, layer: Linear) -> None:
    rows = 1e6 * np.random.default_rng(1).standard_normal((BATCH, INPUTS), dtype=np.float32)
    form = HalfForm(frozenset({"layer"}))
    actual = run(tmp_path / "graph.onnx", form, layer, rows)
    bias = layer.bias()
    assert bias is not None
    # The order of 80 sums in float32.
    np.testing.assert_allclose(actual, rows @ layer.matrix().T + bias, rtol=1e-5, atol=1)
    types = {item.data_type for item in graph_of(tmp_path / "graph.onnx").initializer}
    assert types == {onnx.TensorProto.FLOAT}
    run(tmp_path / "half.onnx", HalfForm(), layer, rows)
    with np.errstate(over="ignore", invalid="ignore"):
        (overflown,) = ReferenceEvaluator(str(tmp_path / "half.onnx")).run(None, {"rows": rows})
    assert not np.isfinite(overflown).all()


def test_onnxruntime_on_a_cpu_computes_it_in_float32(tmp_path: Path, layer: Linear) -> None:
    """So a bundle's proof sees the rounded weights there, and no overflow: see the ranges."""
    rows = np.full((1, INPUTS), 1e6, np.float32)
    actual = run(tmp_path / "graph.onnx", HalfForm(), layer, rows)
    weight = layer.matrix().astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(actual, rows @ weight.T, rtol=1e-3)


def test_a_layer_without_bias(tmp_path: Path) -> None:
    layer = linear(tmp_path, np.eye(OUTPUTS, INPUTS, dtype=np.float32))
    rows = np.arange(BATCH * INPUTS, dtype=np.float32).reshape(BATCH, INPUTS)
    actual = run(tmp_path / "graph.onnx", HalfForm(), layer, rows)
    np.testing.assert_array_equal(actual, rows[:, :OUTPUTS])


def test_the_operands_of_each_kind(layer: Linear) -> None:
    assert HalfForm().operand(layer) == ir.DataType.FLOAT16
    assert HalfForm(frozenset({"layer"})).operand(layer) == ir.DataType.FLOAT
    assert HalfForm(frozenset({"other"})).operand(layer) == ir.DataType.FLOAT16


@pytest.mark.parametrize("value", [HALF_MAX * 1.01, -1e6])
def test_weights_beyond_float16_are_told_by_name(tmp_path: Path, value: float) -> None:
    weight = np.zeros((OUTPUTS, INPUTS), np.float32)
    weight[3, 4] = value
    rows = np.zeros((1, INPUTS), np.float32)
    message = r"layer has weights beyond float16, which ends at 65504\. Export with --target cpu"
    with pytest.raises(CheckpointError, match=message):
        run(tmp_path / "graph.onnx", HalfForm(), linear(tmp_path, weight), rows)
    with pytest.raises(CheckpointError, match="bias has"):
        to_half(weight[3], "bias")


def test_the_largest_value_still_fits() -> None:
    np.testing.assert_array_equal(
        to_half(np.array([HALF_MAX, -HALF_MAX, 0], np.float32), "x"), [HALF_MAX, -HALF_MAX, 0]
    )
    assert to_half(np.zeros(0, np.float32), "x").dtype == np.float16


def graph_of(path: Path) -> onnx.GraphProto:
    return onnx.load(path, load_external_data=False).graph
