"""What a comparison token is told of the map: its own cell, in the right places and amounts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_config
from torch import Tensor

from adcopilot_edge.areas import area_shares
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.windows import patch_indices
from adcopilot_edge.training.config import ADCopilotVisionConfig
from adcopilot_edge.training.told_map import num_told, told_of_map

pytestmark = pytest.mark.torch

GRID = (4, 8)


def vision(*types: str) -> ADCopilotVisionConfig:
    """Four tokens, each told its cell in 2 x 2 parts, of a map of 7 x 7 cells a patch."""
    return tiny_config(
        compare_token_size=4,
        compare_token_cells=2,
        compare_map_scale=7,
        compare_map_types=list(types),
    ).vision


def logits_with(row: int, column: int, *types: float) -> Tensor:
    """A map that is sure of nothing but the patch at ``row`` and ``column``."""
    logits = torch.full((GRID[0] * GRID[1], 49 + len(types)), -50.0)
    number = patch_indices(*GRID, 2)[row, column]
    logits[number, :49] = 50.0
    logits[number, 49:] = torch.tensor(types)
    return logits


def test_parts_share_a_cell_that_a_cut_goes_through() -> None:
    np.testing.assert_allclose(area_shares(2, 3), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], atol=1e-7)
    np.testing.assert_array_equal(area_shares(2, 4), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    np.testing.assert_array_equal(area_shares(4, 2), [[1, 0], [1, 0], [0, 1], [0, 1]])
    for count, size in ((7, 112), (32, 49), (10, 11)):
        np.testing.assert_allclose(area_shares(count, size).sum(1), 1.0, atol=1e-6)


def test_a_found_patch_is_told_to_the_token_of_its_cell_and_along_its_bands() -> None:
    told = told_of_map(logits_with(1, 6), GRID, vision())
    expected = torch.zeros(4, 4 + 4 + 4)
    expected[1, 3] = 0.5  # the upper right cell; its lower right part is one row of two patches
    expected[:2, 4 + 3] = 0.5  # in the upper band: the last of four columns of parts
    expected[[1, 3], 8 + 1] = 0.5  # in the right band: the second of four rows of parts
    torch.testing.assert_close(told, expected)


def test_types_are_told_by_how_many_patches_they_cover() -> None:
    config = vision("scratch", "dent")
    logits = logits_with(3, 0, 50.0, -50.0)
    logits[patch_indices(*GRID, 2)[3, 1]] = logits_with(0, 0, 0.0, 0.0)[0]
    told = told_of_map(logits, GRID, config)
    assert told.shape == (4, num_told(config))
    torch.testing.assert_close(told[2, 12:], torch.tensor([1.5, 0.5]))
    torch.testing.assert_close(told[[0, 1, 3], 12:], torch.zeros(3, 2))


def test_the_map_does_not_learn_from_what_is_said_of_it() -> None:
    logits = logits_with(0, 0).requires_grad_()
    assert not told_of_map(logits, GRID, vision()).requires_grad


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"compare_token_size": 6}, "square number"),
        ({"compare_token_size": 4, "compare_anomaly_map": False}, "compare_anomaly_map"),
    ],
)
def test_what_cannot_be_told_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=f"compare_token_cells needs .*{words}"):
        tiny_config(compare_token_cells=2, **changes)
