"""Which patches attend to each other in Qwen2.5-VL's windowed blocks, for a fixed grid.

Windows tile the grid from the top left, so they have at most four sizes: full windows, a strip at
the right, a strip at the bottom, one corner. Sorted by size, the windows of one size stand in a
row, and attention over them is one batched product without a mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from adcopilot_edge.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class WindowGroup:
    """``count`` windows of ``length`` patches each."""

    count: int
    length: int

    @property
    def num_patches(self) -> int:
        """Patches of the whole group."""
        return self.count * self.length


@dataclass(frozen=True, slots=True)
class WindowLayout:
    """The patches of an image sorted by window, and the windows by size.

    order: (N,) the processor's index of the patch at each sorted place. groups: the windows in
    that order, the largest first.
    """

    order: IntArray
    groups: tuple[WindowGroup, ...]

    @property
    def inverse(self) -> IntArray:
        """(N,) the sorted place of each patch of the processor's order."""
        return np.argsort(self.order)


def patch_indices(rows: int, cols: int, merge_size: int) -> IntArray:
    """(rows, cols): the processor's index of each patch of the grid.

    The processor lists cells of ``merge_size`` x ``merge_size`` patches in raster order, and the
    patches of a cell in raster order within it.
    """
    index = np.arange(rows * cols).reshape(
        rows // merge_size, cols // merge_size, merge_size, merge_size
    )
    return index.transpose(0, 2, 1, 3).reshape(rows, cols)


def map_of_cells(cells: FloatArray, grid: tuple[int, int], merge_size: int) -> FloatArray:
    """The map (rows * k, columns * k) of cells (N, k * k): patches in the processor's order.

    The cells of a patch are in raster order.
    """
    scale = math.isqrt(cells.shape[1])
    placed = cells[patch_indices(*grid, merge_size)].reshape(*grid, scale, scale)
    return placed.transpose(0, 2, 1, 3).reshape(grid[0] * scale, grid[1] * scale)


def window_layout(rows: int, cols: int, *, merge_size: int, window: int) -> WindowLayout:
    """The layout of windows of ``window`` x ``window`` patches on a grid of (rows, cols)."""
    index = patch_indices(rows, cols, merge_size)
    full_rows, full_cols = rows - rows % window, cols - cols % window
    pieces, groups = [], []
    for band in (index[:full_rows], index[full_rows:]):
        for area in (band[:, :full_cols], band[:, full_cols:]):
            if area.size:
                height, width = min(window, len(area)), min(window, area.shape[1])
                tiles = area.reshape(len(area) // height, height, area.shape[1] // width, width)
                pieces.append(tiles.transpose(0, 2, 1, 3).ravel())
                groups.append(WindowGroup(area.size // (height * width), height * width))
    return WindowLayout(np.concatenate(pieces), tuple(groups))


def patch_rotary(
    rows: int, cols: int, *, merge_size: int, head_dim: int, theta: float
) -> tuple[FloatArray, FloatArray]:
    """Cosine and sine, each (N, head_dim / 2) float32, in the processor's patch order.

    The first half of the angles turns with the patch's row, the second with its column.
    """
    return place_rotary(patch_places(rows, cols, merge_size), head_dim=head_dim, theta=theta)


def patch_places(rows: int, cols: int, merge_size: int) -> FloatArray:
    """Row and column (N, 2) float32 of each patch, in the processor's order."""
    place = np.empty((rows * cols, 2), dtype=np.float32)
    place[patch_indices(rows, cols, merge_size)] = np.indices((rows, cols)).transpose(1, 2, 0)
    return place


def place_rotary(
    places: FloatArray, *, head_dim: int, theta: float
) -> tuple[FloatArray, FloatArray]:
    """Cosine and sine, each (N, head_dim / 2) float32, of rows and columns (N, 2) in patches."""
    quarter = np.arange(0, head_dim // 2, 2, dtype=np.float32) / np.float32(head_dim // 2)
    inv_freq = np.float32(1.0) / np.power(np.float32(theta), quarter)
    angles = (places[:, :, None] * inv_freq).reshape(len(places), -1)
    return np.cos(angles), np.sin(angles)
