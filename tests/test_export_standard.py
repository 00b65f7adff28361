"""ONNX's plain operators give what the torch modules give, and the padding of the MLPs is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tiny import open_session, save_tiny, tiny_checkpoint, tiny_config, tiny_model

from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.comparison import write_comparison_graph
from adcopilot_edge.export.fused import FUSED
from adcopilot_edge.export.graph import MICROSOFT, OPSETS, new_graph
from adcopilot_edge.export.half import HalfForm
from adcopilot_edge.export.linear import FloatForm
from adcopilot_edge.export.section import Section
from adcopilot_edge.export.standard import StandardDialect
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch

# 168 x 140 pixels have windows of all four sizes.
GRID = (12, 10)
STANDARD = StandardDialect()


@pytest.fixture(scope="module")
def model() -> ADCopilotForConditionalGeneration:
    return tiny_model(tiny_config())


@pytest.fixture(scope="module")
def checkpoint(
    model: ADCopilotForConditionalGeneration, tmp_path_factory: pytest.TempPathFactory
) -> Checkpoint:
    return open_checkpoint(save_tiny(tmp_path_factory.mktemp("checkpoint"), model))


def patches() -> FloatArray:
    rng = np.random.default_rng(1)
    return rng.standard_normal((GRID[0] * GRID[1], 1176), dtype=np.float32)


def run(path: Path, **feeds: FloatArray) -> dict[str, FloatArray]:
    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def vision(
    path: Path, checkpoint: Checkpoint, dialect: StandardDialect = STANDARD
) -> dict[str, FloatArray]:
    write_vision_graph(path, checkpoint, grid=GRID, form=FloatForm(), dialect=dialect)
    return run(path, patches=patches())


def test_the_tower_is_the_torch_tower(
    tmp_path: Path, model: ADCopilotForConditionalGeneration, checkpoint: Checkpoint
) -> None:
    actual = vision(tmp_path / "vision.onnx", checkpoint)
    tower, grid = model.model.visual, torch.tensor([[1, *GRID]])
    with torch.no_grad():
        outputs = tower(torch.from_numpy(patches()), grid_thw=grid)
        features = tower.to_patch_order(outputs.last_hidden_state, grid)
    # float32 sums in another order; values are about 10, so 1e-4 is a hundred roundings.
    np.testing.assert_allclose(actual["features"], features.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(actual["tokens"], outputs.pooler_output.numpy(), rtol=0, atol=1e-4)


def test_the_comparison_is_the_fused_one(tmp_path: Path, checkpoint: Checkpoint) -> None:
    rng = np.random.default_rng(2)
    previous, current = rng.standard_normal((2, GRID[0] * GRID[1], 64), dtype=np.float32)
    found = []
    for name, dialect in (("fused", FUSED), ("standard", STANDARD)):
        path = tmp_path / f"{name}.onnx"
        write_comparison_graph(path, checkpoint, grid=GRID, form=FloatForm(), dialect=dialect)
        found.append(run(path, previous=previous, current=current))
    for name, expected in found[0].items():
        np.testing.assert_allclose(found[1][name], expected, rtol=0, atol=1e-5)


def test_nothing_but_onnx_s_own_operators(tmp_path: Path, checkpoint: Checkpoint) -> None:
    vision(tmp_path / "vision.onnx", checkpoint)
    proto = onnx.load(tmp_path / "vision.onnx", load_external_data=False)
    assert {node.domain for node in proto.graph.node} == {""}
    onnx.checker.check_model(tmp_path / "vision.onnx", full_check=True)


def test_gelu_is_the_exact_one(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "gelu.onnx"
    with new_graph(path) as graph:
        value = graph.input("value", (101,))
        graph.output(STANDARD.gelu(graph, value, name="gelu"), "result", (101,))
    values = np.linspace(-5, 5, 101, dtype=np.float32)
    expected = torch.nn.functional.gelu(torch.from_numpy(values)).numpy()
    # Two roundings of float32 around values up to 5.
    np.testing.assert_allclose(run(path, value=values)["result"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("width", "padded"), [(90, 96), (96, 96), (97, 128)])
def test_padding_the_mlp_is_exact(tmp_path: Path, width: int, padded: int) -> None:
    checkpoint = open_checkpoint(tiny_checkpoint(tmp_path / "checkpoint", vision_mlp=width))
    plain = vision(tmp_path / "plain.onnx", checkpoint, StandardDialect(width_multiple=1))
    wide = vision(tmp_path / "wide.onnx", checkpoint)
    for name, expected in plain.items():
        np.testing.assert_array_equal(wide[name], expected)
    assert mlp_width(tmp_path / "plain.onnx") == width
    assert mlp_width(tmp_path / "wide.onnx") == padded


def mlp_width(path: Path) -> int:
    proto = onnx.load(path, load_external_data=False)
    (weight,) = [
        tensor
        for tensor in proto.graph.initializer
        if tensor.name == "visual.blocks.0.mlp.down_proj.weight"
    ]
    return int(weight.dims[1])


def test_padding_the_released_width_is_exact(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(
        tiny_checkpoint(tmp_path / "checkpoint", vision_mlp=3420, vision_depth=1, is_stock=True)
    )
    rows = np.random.default_rng(3).standard_normal((5, 64), dtype=np.float32)
    found = []
    for multiple, padded in ((1, 3420), (32, 3424)):
        path = tmp_path / f"{padded}.onnx"
        with new_graph(path) as graph:
            dialect = StandardDialect(width_multiple=multiple)
            block = Section(graph, checkpoint, FloatForm(), dialect, "visual.blocks.0")
            value = graph.input("rows", rows.shape)
            graph.output(block.swiglu(value, "mlp"), "result", rows.shape)
        assert mlp_width(path) == padded
        found.append(run(path, rows=rows)["result"])
    np.testing.assert_array_equal(found[1], found[0])


def test_in_float16_norms_and_sums_stay_in_float32(
    tmp_path: Path, model: ADCopilotForConditionalGeneration, checkpoint: Checkpoint
) -> None:
    path = tmp_path / "vision.onnx"
    write_vision_graph(path, checkpoint, grid=GRID, form=HalfForm(), dialect=STANDARD)
    types = element_types(path)
    for name in ("norm1", "norm1.mean", "attended", "output", "attn.rotary.turned"):
        assert types[f"visual.blocks.0.{name}"] == onnx.TensorProto.FLOAT, name
    for name in ("attn.qkv", "attn.window0.scores", "attn.window0.weights", "mlp.gate_up.gated"):
        assert types[f"visual.blocks.0.{name}"] == onnx.TensorProto.FLOAT16, name


def test_exact_attention_is_exact_up_to_its_weights(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "vision.onnx"
    dialect = StandardDialect(frozenset({"visual.blocks.1.attn"}))
    write_vision_graph(path, checkpoint, grid=GRID, form=HalfForm(), dialect=dialect)
    types = element_types(path)
    for block, kind in (("1", onnx.TensorProto.FLOAT), ("0", onnx.TensorProto.FLOAT16)):
        for name in ("scaled", "scores", "weights"):
            assert types[f"visual.blocks.{block}.attn.window0.{name}"] == kind
    assert types["visual.blocks.1.attn.window0.mixed_by_head"] == onnx.TensorProto.FLOAT16


def element_types(path: Path) -> dict[str, int]:
    graph = onnx.load(path, load_external_data=False).graph
    return {value.name: value.type.tensor_type.elem_type for value in graph.value_info}


def test_the_opset_is_one_that_tensorrt_10_3_reads() -> None:
    assert OPSETS == {"": 20, MICROSOFT: 1}
