"""Where defects lie as masks, and the anomaly map's targets made of them. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional

from adcopilot_edge.types import BBox, LabelledPair, MaskArray


def patch_targets(
    masks: Tensor, *, patch_size: int, merge_size: int, scale: int, grown_px: int
) -> Tensor:
    """How much of each cell a defect covers: (B, H, W) bool -> (B, N, scale * scale) 0..1.

    The order is the processor's: patches grouped by merge cell, the map's cells of a patch in
    raster order. grown_px: added around each defect before.
    """
    side = 2 * grown_px + 1
    grown = masks[:, None].float()
    for kernel, padding in (((side, 1), (grown_px, 0)), ((1, side), (0, grown_px))):
        grown = functional.max_pool2d(grown, kernel, stride=1, padding=padding)
    coverage = functional.avg_pool2d(grown, patch_size // scale)[:, 0]
    sizes = (-1, merge_size, scale)
    cells = coverage.unflatten(2, sizes).unflatten(1, sizes)
    return cells.permute(0, 1, 4, 2, 5, 3, 6).flatten(5).flatten(1, 4)


def place_cells(cells: Tensor, rows: int, columns: int, merge_size: int = 2) -> Tensor:
    """The map of an image of ``rows`` x ``columns`` patches, from its cells (N, scale * scale).

    Undoes the order of ``patch_targets``: (rows * scale, columns * scale).
    """
    scale = round(cells.shape[1] ** 0.5)
    blocks = (rows // merge_size, columns // merge_size, merge_size, merge_size, scale, scale)
    placed = cells.reshape(blocks).permute(0, 2, 4, 1, 3, 5)
    return placed.reshape(rows * scale, columns * scale)


def pair_mask(pair: LabelledPair) -> MaskArray | None:
    """The mask of a pair, by its boxes where the source has none, None where no place is known."""
    if pair.is_unplaced:
        return None
    height, width = pair.test.shape[:2]
    return pair.mask if pair.mask is not None else fill_mask(pair.boxes, height, width)


def fill_mask(boxes: Sequence[BBox], height: int, width: int) -> MaskArray:
    """The filled boxes as a mask (H, W)."""
    mask = np.zeros((height, width), dtype=np.bool_)
    for x1, y1, x2, y2 in boxes:
        mask[int(y1) : int(y2), int(x1) : int(x2)] = True
    return mask
