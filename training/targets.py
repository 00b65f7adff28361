"""Where defects lie as masks, and the anomaly map's targets made of them. Knows no model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional

from adcopilot_edge.types import BBox, IntArray, LabelledPair, MaskArray


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


def type_image(pair: LabelledPair, types: Sequence[str]) -> IntArray | None:
    """The number in ``types`` of each pixel's type of defect, (H, W) int64; -1 for none.

    A pixel in several boxes is of the smallest one's type; types that are not listed are none. None
    for a bad part of which nobody knows the place.
    """
    mask = pair_mask(pair)
    if mask is None:
        return None
    found = np.full(mask.shape, -1, dtype=np.int64)
    by_area = sorted(
        zip(pair.boxes, pair.labels, strict=True),
        key=lambda item: (item[0][2] - item[0][0]) * (item[0][3] - item[0][1]),
        reverse=True,
    )
    for box, label in by_area:
        found[_pixels(box)] = types.index(label) if label in types else -1
    found[~mask] = -1
    return found


def patch_types(types: IntArray, *, patch_size: int, merge_size: int) -> IntArray:
    """The type of each patch: the one with the most pixels in it, -1 where none has any.

    types: (H, W) as ``type_image`` gives them. Returns (N,) int64 in the order of
    ``patch_targets``.
    """
    rows, columns = (size // (patch_size * merge_size) for size in types.shape)
    blocks = types.reshape(rows, merge_size, patch_size, columns, merge_size, patch_size)
    patches = blocks.transpose(0, 3, 1, 4, 2, 5).reshape(-1, patch_size**2)
    found = np.full(len(patches), -1, dtype=np.int64)
    for number in np.flatnonzero((patches >= 0).any(axis=1)):
        values = patches[number]
        found[number] = np.bincount(values[values >= 0]).argmax()
    return found


def fill_mask(boxes: Sequence[BBox], height: int, width: int) -> MaskArray:
    """The filled boxes as a mask (H, W): every pixel that a box touches."""
    mask = np.zeros((height, width), dtype=np.bool_)
    for box in boxes:
        mask[_pixels(box)] = True
    return mask


def _pixels(box: BBox) -> tuple[slice, slice]:
    """The rows and columns that a box touches; a thin one that was scaled down has still one."""
    x1, y1, x2, y2 = box
    return (
        slice(max(0, math.floor(y1)), math.ceil(y2)),
        slice(max(0, math.floor(x1)), math.ceil(x2)),
    )
