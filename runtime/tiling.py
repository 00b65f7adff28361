"""Large pictures in tiles at native scale: where the tiles lie, and how their results join again.

Cameras have 5 to 20 megapixels and defects 30 pixels, so scaling the whole picture down loses
them. This module knows coordinates only; what is inspected in a tile is the caller's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.types import BBox, Defect, FloatArray, ImageArray, MaskArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A rectangle of a picture, in pixels: its top left corner and its size."""

    y: int
    x: int
    height: int
    width: int

    def crop(self, image: ImageArray) -> ImageArray:
        """Return the tile of an (H, W, 3) image, as a view."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]

    def to_image(self, bbox: BBox) -> BBox:
        """Return a box of the tile in pixels of the whole picture."""
        x1, y1, x2, y2 = bbox
        return x1 + self.x, y1 + self.y, x2 + self.x, y2 + self.y


def plan_tiles(
    height: int, width: int, *, tile_height: int, tile_width: int, overlap: float = 0.25
) -> tuple[Tile, ...]:
    """Return equal tiles that cover the whole picture, row by row from the top left.

    Neighbours share at least ``overlap`` of a tile, so a defect smaller than that lies whole in
    one of them. The last row and column are moved inwards instead of being padded. Along a side
    where the picture is smaller than a tile, the tile is as large as the picture.

    Args:
        height: Rows of the picture, in pixels.
        width: Columns of the picture, in pixels.
        tile_height: Rows of a tile, in pixels.
        tile_width: Columns of a tile, in pixels.
        overlap: Share of a tile, at least 0 and below 1.

    Raises:
        ConfigError: A size is below 1, or ``overlap`` is out of range.
    """
    if min(height, width, tile_height, tile_width) < 1:
        raise ConfigError(
            "picture and tile need at least one pixel a side, got a picture of "
            f"{width}x{height} and a tile of {tile_width}x{tile_height}"
        )
    if not 0.0 <= overlap < 1.0:
        raise ConfigError(f"overlap must be at least 0 and below 1, got {overlap}")
    tile_height, tile_width = min(tile_height, height), min(tile_width, width)
    return tuple(
        Tile(y=y, x=x, height=tile_height, width=tile_width)
        for y in _starts(height, tile_height, overlap)
        for x in _starts(width, tile_width, overlap)
    )


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    """Return where the tiles of one axis begin; the last one ends with the picture."""
    stride = max(1, math.floor(tile * (1.0 - overlap)))
    return [*range(0, length - tile, stride), length - tile]


def merge_boxes(
    defects: Sequence[Defect], *, iou: float = 0.2, iom: float = 0.2, gap: float = 0.0
) -> tuple[Defect, ...]:
    """Join the boxes that show one defect, seen whole or in parts by overlapping tiles.

    Two boxes of the same source belong together if their intersection is more than ``iou`` of
    their union or more than ``iom`` of the smaller box, or if fewer than ``gap`` pixels lie
    between them. They are replaced by the box around both, until no two boxes belong together.
    Boxes from the text and from the map never join: they are separate evidence.

    A defect that runs through a tile leaves two boxes that share only the overlap of the tiles;
    ``iom`` must be below that overlap (0.25 by default) to join them.

    Args:
        defects: Boxes in pixels of the whole picture, each with its label and source.
        iou: Intersection over union above which two boxes join, 0..1.
        iom: Intersection over the smaller area above which two boxes join, 0..1.
        gap: Distance in pixels below which two boxes join; 0 joins none by distance.

    Returns:
        The joined defects in the order of their first members. The label is the one that covers
        the most area among the members, the earlier one in a tie.
    """
    groups = [[defect] for defect in defects]
    while True:
        boxes = np.array([_union_box(group) for group in groups], dtype=np.float64).reshape(-1, 4)
        sources = np.array([group[0].source for group in groups])
        related = _related(boxes, iou=iou, iom=iom, gap=gap) & (sources[:, None] == sources)
        merged: dict[int, list[Defect]] = {}
        for group, leader in zip(groups, _leaders(related), strict=True):
            merged.setdefault(leader, []).extend(group)
        if len(merged) == len(groups):
            return tuple(_join(group) for group in groups)
        groups = list(merged.values())


def stitch_maps(
    tiles: Sequence[Tile], maps: Sequence[FloatArray], height: int, width: int
) -> FloatArray:
    """Return one map of the whole picture from the maps of its tiles, by maximum.

    Each value goes to the cell of the large map in which its patch has its centre. A cell of the
    large map is never smaller than a patch, so every cell gets a value and no value is lost: the
    maximum of the result is the maximum of all maps.

    Args:
        tiles: Tiles of one plan, hence of equal size.
        maps: For each tile its (rows, columns) float32 map with values in 0..1, all of one shape.
        height: Rows of the picture, in pixels.
        width: Columns of the picture, in pixels.

    Returns:
        (R, C) float32 at the resolution of the patches: R = height / (tile height / rows),
        rounded down, and likewise C.

    Raises:
        ConfigError: There are no tiles, or tiles and maps do not match.
    """
    if not tiles or len(tiles) != len(maps):
        raise ConfigError(f"need one map for each tile, got {len(tiles)} tiles, {len(maps)} maps")
    tile_sizes = {(tile.height, tile.width) for tile in tiles}
    map_shapes = {patch_map.shape for patch_map in maps}
    if len(tile_sizes) > 1 or len(map_shapes) > 1:
        raise ConfigError(
            "all tiles must have one size and all maps one shape, got "
            f"{sorted(tile_sizes)} and {sorted(map_shapes)}"
        )
    rows, columns = maps[0].shape
    shape = height * rows // tiles[0].height, width * columns // tiles[0].width
    stitched = np.zeros(shape, dtype=np.float32)
    for tile, patch_map in zip(tiles, maps, strict=True):
        at_rows = _cells(tile.y, tile.height, rows, height, shape[0])
        at_columns = _cells(tile.x, tile.width, columns, width, shape[1])
        np.maximum.at(stitched, np.ix_(at_rows, at_columns), patch_map)
    return stitched


def _cells(start: int, tile: int, patches: int, length: int, cells: int) -> list[int]:
    """Return, along one axis, the large map's cell that holds the centre of each patch.

    The centre of patch i is start + (i + 1/2) * tile / patches; a cell is length / cells long.
    In whole numbers, since a centre may lie exactly between two cells.
    """
    return [
        (2 * patches * start + (2 * i + 1) * tile) * cells // (2 * patches * length)
        for i in range(patches)
    ]


def _related(boxes: NDArray[np.float64], *, iou: float, iom: float, gap: float) -> MaskArray:
    """Return (B, B) bool: which of the (B, 4) boxes belong together."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    sides = high - low  # negative: the distance between the boxes along that axis
    intersection = np.prod(np.maximum(sides, 0.0), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = area[:, None] + area - intersection
    smaller = np.minimum(area[:, None], area)
    distance = np.hypot(*np.moveaxis(np.maximum(-sides, 0.0), 2, 0))
    overlapping = (intersection > iou * union) | (intersection > iom * smaller)
    return np.asarray(overlapping | (distance < gap), dtype=np.bool_)


def _leaders(related: MaskArray) -> list[int]:
    """Return for each box the lowest index that it reaches through related boxes."""
    leaders = np.arange(len(related))
    while True:
        reached = np.where(related, leaders, len(related)).min(axis=1, initial=len(related))
        lowest = np.minimum(leaders, reached)
        if np.array_equal(lowest, leaders):
            return [int(leader) for leader in leaders]
        leaders = lowest


def _union_box(group: Sequence[Defect]) -> BBox:
    """Return the smallest box around all boxes of the group."""
    x1, y1, x2, y2 = zip(*(defect.bbox_2d for defect in group), strict=True)
    return min(x1), min(y1), max(x2), max(y2)


def _join(group: Sequence[Defect]) -> Defect:
    """Return one defect for the group: the box around it, the label with the most area."""
    area_of_label: dict[str, float] = {}
    for defect in group:
        x1, y1, x2, y2 = defect.bbox_2d
        area_of_label.setdefault(defect.label, 0.0)
        area_of_label[defect.label] += (x2 - x1) * (y2 - y1)
    label = max(area_of_label, key=area_of_label.__getitem__)
    return Defect(label=label, bbox_2d=_union_box(group), source=group[0].source)
