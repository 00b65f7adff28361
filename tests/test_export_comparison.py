"""The comparison graph against the torch encoder, with every switch of the configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import open_session, save_tiny, tiny_config, tiny_model

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.comparison import write_comparison_graph
from adcopilot_edge.export.linear import FloatForm
from adcopilot_edge.export.windows import map_of_cells
from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch

GRID = (6, 10)


def torch_outputs(
    model: ADCopilotForConditionalGeneration, previous: FloatArray, current: FloatArray
) -> dict[str, FloatArray]:
    features = [torch.from_numpy(previous), torch.from_numpy(current)]
    grid_thw = torch.tensor([[1, *GRID]] * 2)
    with torch.no_grad():
        tokens, logits = model.model.visual.compare(features, grid_thw, [(0, 1)])
    outputs = {"comparison_tokens": tokens[0].numpy()}
    if logits is None:
        return outputs
    types = len(model.config.vision.compare_map_types)
    cells, found = np.split(logits[0].numpy(), [logits[0].shape[1] - types], axis=1)
    outputs["anomaly_logits"] = map_of_cells(cells, GRID, 2)
    if types:
        each = [map_of_cells(found[:, [number]], GRID, 2) for number in range(types)]
        outputs["type_logits"] = np.stack(each, axis=-1)
    return outputs


def check_graph(folder: Path, config: ADCopilotConfig) -> None:
    model = tiny_model(config)
    checkpoint = open_checkpoint(save_tiny(folder / "checkpoint", model))
    path = folder / "comparison.onnx"
    write_comparison_graph(path, checkpoint, grid=GRID, form=FloatForm())
    rng = np.random.default_rng(2)
    previous, current = rng.standard_normal((2, 60, 64), dtype=np.float32)
    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    outputs = session.run(None, {"previous": previous, "current": current})
    actual = dict(zip(names, outputs, strict=True))
    expected = torch_outputs(model, previous, current)
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("rope", [False, True])
@pytest.mark.parametrize("head", [False, True])
def test_graph_equals_the_encoder(tmp_path: Path, *, rope: bool, head: bool) -> None:
    check_graph(tmp_path, tiny_config(compare_rope=rope, compare_anomaly_map=head))


@pytest.mark.parametrize("rope", [False, True])
def test_queries_may_stand_on_a_grid(tmp_path: Path, *, rope: bool) -> None:
    check_graph(
        tmp_path, tiny_config(compare_token_size=9, compare_query_grid=True, compare_rope=rope)
    )


@pytest.mark.parametrize("rope", [False, True])
def test_the_queries_may_be_told_the_places_of_patches(tmp_path: Path, *, rope: bool) -> None:
    check_graph(tmp_path, tiny_config(compare_patch_places=True, compare_rope=rope))


def test_a_patch_may_have_several_cells_of_the_map(tmp_path: Path) -> None:
    check_graph(tmp_path, tiny_config(compare_map_scale=7))


@pytest.mark.parametrize("types", [[], ["a", "b", "c"]])
@pytest.mark.parametrize("scale", [1, 7])
def test_the_tokens_may_be_told_the_map(tmp_path: Path, scale: int, types: list[str]) -> None:
    changes = {"compare_map_scale": scale, "compare_map_types": types}
    check_graph(tmp_path, tiny_config(compare_token_size=9, compare_token_cells=4, **changes))


def test_a_patch_may_be_told_its_type(tmp_path: Path) -> None:
    check_graph(tmp_path, tiny_config(compare_map_scale=2, compare_map_types=["a", "b", "c"]))


def test_types_need_the_map() -> None:
    with pytest.raises(ConfigError, match="compare_map_types needs compare_anomaly_map"):
        tiny_config(compare_anomaly_map=False, compare_map_types=["a"])


def test_cells_of_a_patch_lie_in_the_patch() -> None:
    """Patch 5 of a grid of 2 x 4 is the second of the second merge cell: row 0, column 3."""
    cells = np.arange(8 * 4, dtype=np.float32).reshape(8, 4)
    found = map_of_cells(cells, (2, 4), 2)
    assert found.shape == (4, 8)
    np.testing.assert_array_equal(found[:2, 6:], [[20, 21], [22, 23]])


@pytest.mark.parametrize("minus", [False, True])
def test_sign_of_the_last_residual_is_a_setting(tmp_path: Path, *, minus: bool) -> None:
    config = tiny_config()
    config.vision_config.compare_minus_residual = minus
    check_graph(tmp_path, config)
