"""The vision graph against the torch tower, on grids with every kind of window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from tiny import open_session, save_tiny, tiny_config, tiny_model

from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.linear import (
    DynamicInt8Form,
    FloatForm,
    LinearForm,
    quantize_outputs,
)
from adcopilot_edge.export.rows import RowInt8Form
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.export.windows import patch_indices, window_layout
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch

# Multiples of 112 have full windows only; the others have strips at the right, at the bottom, or
# both, down to a single row of cells.
SIZES = [(112, 112), (224, 224), (448, 448), (504, 504), (28, 1008), (560, 728)]


@pytest.fixture(scope="module")
def model() -> ADCopilotForConditionalGeneration:
    return tiny_model(tiny_config())


@pytest.fixture(scope="module")
def checkpoint(
    model: ADCopilotForConditionalGeneration, tmp_path_factory: pytest.TempPathFactory
) -> Checkpoint:
    return open_checkpoint(save_tiny(tmp_path_factory.mktemp("checkpoint"), model))


def patches_of(grid: tuple[int, int]) -> FloatArray:
    rng = np.random.default_rng(1)
    return rng.standard_normal((grid[0] * grid[1], 1176), dtype=np.float32)


def torch_outputs(
    model: ADCopilotForConditionalGeneration, patches: FloatArray, grid: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    tower = model.model.visual
    grid_thw = torch.tensor([[1, *grid]])
    with torch.no_grad():
        outputs = tower(torch.from_numpy(patches), grid_thw=grid_thw)
        features = tower.to_patch_order(outputs.last_hidden_state, grid_thw)
    return features.numpy(), outputs.pooler_output.numpy()


def onnx_outputs(
    folder: Path,
    checkpoint: Checkpoint,
    patches: FloatArray,
    grid: tuple[int, int],
    form: LinearForm,
) -> tuple[FloatArray, FloatArray]:
    path = folder / "vision.onnx"
    write_vision_graph(path, checkpoint, grid=grid, form=form)
    session = open_session(path)
    features, tokens = session.run(["features", "tokens"], {"patches": patches})
    return features, tokens


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_graph_equals_the_tower(
    tmp_path: Path,
    model: ADCopilotForConditionalGeneration,
    checkpoint: Checkpoint,
    height: int,
    width: int,
) -> None:
    grid = (height // 14, width // 14)
    patches = patches_of(grid)
    features, tokens = onnx_outputs(tmp_path, checkpoint, patches, grid, FloatForm())
    expected_features, expected_tokens = torch_outputs(model, patches, grid)
    # float32 sums in another order; values are about 10, so 1e-4 is a hundred roundings.
    np.testing.assert_allclose(features, expected_features, rtol=0, atol=1e-4)
    np.testing.assert_allclose(tokens, expected_tokens, rtol=0, atol=1e-4)


def test_int8_stays_near_and_a_wrong_scale_does_not(
    tmp_path: Path,
    model: ADCopilotForConditionalGeneration,
    checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grid = (16, 16)
    patches = patches_of(grid)
    expected, _ = torch_outputs(model, patches, grid)
    int8, _ = onnx_outputs(tmp_path, checkpoint, patches, grid, DynamicInt8Form())

    def quantize(matrix: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
        """Levels for one scale, values by another, as a slip of an axis or a factor would give."""
        levels, scales = quantize_outputs(matrix)
        return levels, scales[::-1].copy()

    monkeypatch.setattr("adcopilot_edge.export.linear.quantize_outputs", quantize)
    wrong, _ = onnx_outputs(tmp_path, checkpoint, patches, grid, DynamicInt8Form())
    assert relative_error(expected, int8) < 0.05  # 0.02 here: 8 bits over three blocks
    assert relative_error(expected, wrong) > 0.1


@pytest.mark.parametrize("form", [DynamicInt8Form, RowInt8Form])
def test_gate_and_up_apart_are_what_they_are_together(
    tmp_path: Path, checkpoint: Checkpoint, form: type[LinearForm], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = (8, 8)
    found = []
    for is_apart in (True, False):
        monkeypatch.setattr(form, "is_apart", is_apart)
        found.append(onnx_outputs(tmp_path, checkpoint, patches_of(grid), grid, form()))
        nodes = onnx.load(tmp_path / "vision.onnx", load_external_data=False).graph.node
        products = [node.name for node in nodes if node.op_type == "MatMulInteger"]
        assert any("gate_up" in name for name in products) != is_apart
    for apart, together in zip(*found, strict=True):
        np.testing.assert_array_equal(apart, together)


def relative_error(expected: FloatArray, actual: FloatArray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def test_each_patch_is_in_one_window_of_at_most_four_sizes() -> None:
    layout = window_layout(36, 50, merge_size=2, window=8)
    assert sorted(layout.order) == list(range(36 * 50))
    assert [(group.count, group.length) for group in layout.groups] == [
        (24, 64),
        (4, 16),
        (6, 32),
        (1, 8),
    ]
    np.testing.assert_array_equal(layout.order[layout.inverse], np.arange(36 * 50))


def test_cells_come_before_patches_in_the_processors_order() -> None:
    np.testing.assert_array_equal(
        patch_indices(2, 4, 2),
        [[0, 1, 4, 5], [2, 3, 6, 7]],
    )
