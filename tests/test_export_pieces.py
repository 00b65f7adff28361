"""A graph run in pieces: the same numbers, and no memory held behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny import tiny_checkpoint

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.linear import FloatForm
from adcopilot_edge.export.pieces import PiecewiseGraph, split
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.runtime.session import GraphSession

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    checkpoint = open_checkpoint(tiny_checkpoint(folder / "checkpoint"))
    path = folder / "vision.onnx"
    write_vision_graph(path, checkpoint, grid=(8, 8), form=FloatForm())
    return path


@pytest.mark.parametrize("budget", [1, 100_000, 1 << 30])
def test_pieces_give_what_the_whole_gives(graph: Path, budget: int) -> None:
    patches = np.random.default_rng(0).standard_normal((64, 1176), np.float32)
    whole = GraphSession(graph, num_threads=1).run({"patches": patches})
    pieces = PiecewiseGraph(graph, budget_bytes=budget, num_threads=1)
    found = pieces.run({"patches": patches})
    assert list(found) == list(whole)
    for name, expected in whole.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-6)
    assert not list(graph.parent.glob(".*.onnx"))


def test_results_hold_no_session_alive(graph: Path) -> None:
    # An array of onnxruntime's own is a view of memory that its session allocated, and all of
    # that session's memory stays while the view does.
    pieces = PiecewiseGraph(graph, budget_bytes=100_000, num_threads=1)
    found = pieces.run({"patches": np.zeros((64, 1176), np.float32)})
    assert all(array.flags.owndata for array in found.values())


def test_weights_count_as_the_cpu_holds_them() -> None:
    def model(kind: int, op_type: str) -> onnx.ModelProto:
        weight = onnx.TensorProto(name="w", data_type=kind, dims=[100])
        weight.external_data.add(key="length", value="100")
        nodes = [onnx.helper.make_node(op_type, ["w", "s"], [f"y{index}"]) for index in range(8)]
        graph = onnx.helper.make_graph(nodes, "g", [], [], initializer=[weight])
        return onnx.helper.make_model(graph)

    # As they are; float16 twice as large; INT8 levels that are dequantized four times.
    counts = [
        len(split(model(kind, op_type), 800))
        for kind, op_type in (
            (onnx.TensorProto.FLOAT, "MatMul"),
            (onnx.TensorProto.FLOAT16, "MatMul"),
            (onnx.TensorProto.INT8, "MatMulInteger"),
            (onnx.TensorProto.INT8, "DequantizeLinear"),
        )
    ]
    assert counts == [1, 2, 1, 4]


def test_pieces_are_for_the_cpu(graph: Path) -> None:
    with pytest.raises(ConfigError, match="in pieces on the cpu only, not on 'cuda'"):
        PiecewiseGraph(graph, budget_bytes=1, provider="cuda")
