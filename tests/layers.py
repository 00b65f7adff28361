"""One linear layer of the exporter and the same layer as a person would write it, to compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from safetensors.numpy import save_file
from tiny import open_session

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.graph import new_graph
from adcopilot_edge.export.linear import LinearForm
from adcopilot_edge.export.tensors import TensorEntry
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.types import FloatArray

# Two stacked layers; 80 inputs are two and a half blocks of 32.
INPUTS, OUTPUTS = 80, (24, 40)
BATCH = 7


def write_layer(folder: Path, *, inputs: int = INPUTS) -> Linear:
    """A stack of two layers with outliers, one of them without a bias."""
    rng = np.random.default_rng(0)
    tensors = {
        f"{name}.weight": rng.standard_t(4, (size, inputs)).astype(np.float32)
        for name, size in zip("ab", OUTPUTS, strict=True)
    }
    tensors["b.bias"] = rng.standard_normal(OUTPUTS[1]).astype(np.float32)
    path = folder / "model.safetensors"
    save_file(tensors, path)
    entries = {name: TensorEntry(path, name, array.shape, "F32") for name, array in tensors.items()}
    config = ADCopilotConfig()
    checkpoint = Checkpoint(path.parent, "ad_copilot", config, entries)
    return Linear(checkpoint, "stack", ("a", "b"))


def draw_rows(*, inputs: int = INPUTS) -> FloatArray:
    """Inputs (BATCH, inputs) of the layer."""
    return np.random.default_rng(1).standard_normal((BATCH, inputs)).astype(np.float32)


def ours(path: Path, form: LinearForm, layer: Linear, rows: FloatArray) -> FloatArray:
    """The layer's outputs (BATCH, 64) in our form."""
    with new_graph(path) as graph:
        value = graph.input("rows", ("T", layer.shape[1]))
        graph.output(form.apply(graph, value, layer), "product", ("T", sum(OUTPUTS)))
    return run(path, rows)


def run(path: Path, rows: FloatArray) -> FloatArray:
    """What the graph at ``path`` makes of ``rows``."""
    (product,) = open_session(path).run(None, {"rows": rows})
    return np.asarray(product)


def float_model(layer: Linear) -> onnx.ModelProto:
    """The same layer as a person would write it: a product and a sum."""
    bias = layer.bias()
    assert bias is not None
    nodes = [
        helper.make_node("MatMul", ["rows", "weight"], ["raw"], name="matmul"),
        helper.make_node("Add", ["raw", "bias"], ["product"], name="add"),
    ]
    initializers = [
        numpy_helper.from_array(np.ascontiguousarray(layer.matrix().T), "weight"),
        numpy_helper.from_array(bias, "bias"),
    ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, ["T", layer.shape[1]])],
        [helper.make_tensor_value_info("product", onnx.TensorProto.FLOAT, ["T", sum(OUTPUTS)])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def exact(layer: Linear, rows: FloatArray) -> FloatArray:
    """The layer in numpy."""
    bias = layer.bias()
    assert bias is not None
    return rows @ layer.matrix().T + bias
