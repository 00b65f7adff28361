"""What a comparison token is told of the anomaly map: its own part of it, and the types there.

Token k stands for cell k of a square grid over the image. Knows no weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adcopilot_edge.areas import area_shares
from adcopilot_edge.training.config import ADCopilotVisionConfig


def num_told(config: ADCopilotVisionConfig) -> int:
    """How many numbers a token is told."""
    return config.compare_token_cells**2 + len(config.compare_map_types)


def told_of_map(logits: Tensor, grid: tuple[int, int], config: ADCopilotVisionConfig) -> Tensor:
    """What the tokens of an image are told, (L, cells + types) float32.

    logits: of the map and of the types of each patch (N, cells + types), in the processor's order.
    grid: rows and columns of patches.

    The first numbers are means of the map's probabilities over ``compare_token_cells`` squared
    equal parts of the token's cell, in raster order, in 0..1. The others say how many patches' area
    of each type lies in the cell. No gradient goes back: the map learns from masks alone.
    """
    (rows, columns), scale, merge = grid, config.compare_map_scale, config.spatial_merge_size
    side, parts = math.isqrt(config.compare_token_size), config.compare_token_cells
    cells_of = logits.detach().float()
    cells_of = cells_of.unflatten(0, (rows // merge, columns // merge, merge, merge))
    placed = cells_of.transpose(1, 2).reshape(rows, columns, -1)
    cells, types = placed[..., : scale**2], placed[..., scale**2 :]
    cells = cells.sigmoid().unflatten(-1, (scale, scale)).transpose(1, 2)
    found = cells.reshape(rows * scale, columns * scale)
    down, across = (_shares(side * parts, size * scale, like=found) for size in (rows, columns))
    told = (down @ found @ across.T).unflatten(1, (side, parts)).unflatten(0, (side, parts))
    told = told.transpose(1, 2).reshape(side**2, parts**2)
    if not config.compare_map_types:
        return told
    in_patch = cells.mean((1, 3))[..., None] * types.softmax(-1)
    down, across = (_shares(side, size, like=found) * (size / side) for size in (rows, columns))
    by_type = torch.einsum("gr,rct,hc->ght", down, in_patch, across)
    return torch.cat([told, by_type.flatten(0, 1)], dim=-1)


def _shares(count: int, size: int, *, like: Tensor) -> Tensor:
    return torch.from_numpy(area_shares(count, size)).to(like.device)
