"""What a comparison token is told of the anomaly map: its part, how far it goes on, its types.

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
    parts, side = config.compare_token_cells, math.isqrt(config.compare_token_size)
    return parts**2 + 2 * side * parts + len(config.compare_map_types)


def told_of_map(logits: Tensor, grid: tuple[int, int], config: ADCopilotVisionConfig) -> Tensor:
    """What the tokens of an image are told, (L, num_told) float32.

    logits: of the map and of the types of each patch (N, cells + types), in the processor's order.
    grid: rows and columns of patches.

    First come means of the map's probabilities over ``compare_token_cells`` squared equal parts of
    the token's cell, in raster order, in 0..1. A region that goes on beyond the cell shows in what
    follows: the highest such mean of each column of parts in the band of cells beside it, from one
    side of the image to the other, and of each row of parts in the band above and below. The last
    numbers say how many patches' area of each type lies in the cell. No gradient goes back: the map
    learns from masks alone.
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
    means = down @ found @ across.T
    by_band = means.unflatten(0, (side, parts)), means.T.unflatten(0, (side, parts))
    beside, along = (band.amax(1) for band in by_band)
    told = [
        by_band[0].unflatten(2, (side, parts)).transpose(1, 2).reshape(side**2, parts**2),
        beside.repeat_interleave(side, 0),
        along.repeat(side, 1),
    ]
    if not config.compare_map_types:
        return torch.cat(told, dim=-1)
    in_patch = cells.mean((1, 3))[..., None] * types.softmax(-1)
    down, across = (_shares(side, size, like=found) * (size / side) for size in (rows, columns))
    by_type = torch.einsum("gr,rct,hc->ght", down, in_patch, across)
    return torch.cat([*told, by_type.flatten(0, 1)], dim=-1)


def _shares(count: int, size: int, *, like: Tensor) -> Tensor:
    return torch.from_numpy(area_shares(count, size)).to(like.device)
