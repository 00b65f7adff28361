"""Where a defect is: boxes and pixels, from the mask, polygons or boxes that a data set gives.

Knows neither what a defect is called nor what its pixels look like. A place that can't be used is
told, and never makes the defect vanish.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adcopilot_edge.training.chat_ad.files import grey_pixels
from adcopilot_edge.training.chat_ad.match import Tell
from adcopilot_edge.training.chat_ad.merging import in_reading_order, merge_close, merged_boxes
from adcopilot_edge.training.chat_ad.source import Finding, SourceDefect
from adcopilot_edge.types import BBox, MaskArray

Ring = Sequence[tuple[float, float]]

# What these write around an edge is no defect: only the brighter half of their values counts.
_LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The place of a defect in an image.

    boxes: in pixels of the image, x2 and y2 exclusive, clipped, in reading order. left, top: where
    ``mask``, (H, W) bool, lies in the image; it is as large as all boxes together. is_exact: true
    pixels are the defect's; otherwise they are those of the boxes, which is all that is known.
    """

    boxes: tuple[BBox, ...]
    left: int
    top: int
    mask: MaskArray
    is_exact: bool

    @property
    def area(self) -> int:
        """How many pixels of the image it has."""
        return int(np.count_nonzero(self.mask))

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the image that ``mask`` covers."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def inside(self, box: BBox) -> MaskArray:
        """The part of ``mask`` in one of the boxes."""
        x1, y1, x2, y2 = box
        here = x1 - self.left, y1 - self.top, x2 - self.left, y2 - self.top
        return self.mask[_pixels(here)]


def find_outline(
    defect: SourceDefect, *, picture: Path, size: tuple[int, int], tell: Tell
) -> Outline | None:
    """The place of a defect of ``picture``; None where nobody knows it.

    Of several the most exact counts: mask, polygons, boxes. Regions of a mask and polygons are
    joined by the rules of ``merging``; boxes stay as they are given.

    Args:
        defect: As its data set tells it.
        picture: The image, for messages.
        size: Its (width, height), upright.
        tell: Is told of a mask, polygon or box that can't be used.
    """
    if defect.mask is not None:
        mask = _read_mask(defect.mask, defect.mask_values, size, tell)
        if mask is not None:
            boxes = merged_boxes(mask)
            return _crop(mask & _filled(boxes, size), boxes, is_exact=True)
    if rings := [ring for ring in defect.polygons if len(ring) > 2]:
        around = [_clip(_around(ring), size) for ring in rings]
        kept = [(ring, box) for ring, box in zip(rings, around, strict=True) if box is not None]
        if kept:
            width, height = size
            boxes = merge_close([box for _, box in kept], diagonal=math.hypot(width, height))
            return _crop(_drawn(kept, size), boxes, is_exact=True)
        tell(Finding(picture, f"a polygon of '{defect.label}' is outside of the image; correct it"))
    if defect.boxes:
        clipped = [box for box in (_clip(box, size) for box in defect.boxes) if box is not None]
        if len(clipped) < len(defect.boxes):
            tell(Finding(picture, f"a box of '{defect.label}' is outside of the image; correct it"))
        if clipped:
            return _crop(_filled(clipped, size), in_reading_order(clipped), is_exact=False)
    return None


def _read_mask(
    path: Path, values: Sequence[int], size: tuple[int, int], tell: Tell
) -> MaskArray | None:
    """The pixels of a mask that count, as large as the image; None where it can't be used."""
    pixels = grey_pixels(path)
    if pixels is None:
        tell(Finding(path, "can't be read as a mask; it is missing or damaged, copy it again"))
        return None
    height, width = pixels.shape
    if (width, height) != size:
        tell(
            Finding(
                path,
                f"the mask has {width}x{height} pixels, its image {size[0]}x{size[1]}; scale it to "
                "the image without smoothing, or copy both again",
            )
        )
        return None
    least = int(pixels.max()) // 2 if path.suffix.lower() in _LOSSY else 0
    mask = np.isin(pixels, values) if values else pixels > least
    if mask.any():
        return np.asarray(mask)
    tell(Finding(path, "the mask is black, so it shows no defect; draw it"))
    return None


def _clip(box: BBox, size: tuple[int, int]) -> BBox | None:
    x1, y1, x2, y2 = box
    a, b, c, d = max(x1, 0.0), max(y1, 0.0), min(x2, float(size[0])), min(y2, float(size[1]))
    return (a, b, c, d) if a < c and b < d else None


def _around(ring: Ring) -> BBox:
    xs, ys = [x for x, _ in ring], [y for _, y in ring]
    return min(xs), min(ys), max(xs), max(ys)


def _pixels(box: BBox) -> tuple[slice, slice]:
    """The rows and columns of which a box has a part."""
    x1, y1, x2, y2 = box
    return slice(math.floor(y1), math.ceil(y2)), slice(math.floor(x1), math.ceil(x2))


def _filled(boxes: Sequence[BBox], size: tuple[int, int]) -> MaskArray:
    mask = np.zeros(size[::-1], dtype=np.bool_)
    for box in boxes:
        mask[_pixels(box)] = True
    return mask


def _drawn(rings: Sequence[tuple[Ring, BBox]], size: tuple[int, int]) -> MaskArray:
    """The pixels whose centres are in a ring; of a ring around no centre those of its box."""
    mask = np.zeros(size[::-1], dtype=np.bool_)
    for ring, box in rings:
        rows, columns = _pixels(box)
        moved = [(x - columns.start, y - rows.start) for x, y in ring]
        inside = fill_ring(moved, (columns.stop - columns.start, rows.stop - rows.start))
        mask[rows, columns] |= inside if inside.any() else True
    return mask


def fill_ring(ring: Ring, size: tuple[int, int]) -> MaskArray:
    """(H, W) bool: pixels whose centre is inside the ring, by the even-odd rule.

    Args:
        ring: (x, y) in pixels; the last point is joined to the first.
        size: (width, height) of the mask.
    """
    width, height = size
    is_crossed = np.zeros((height, width + 1), dtype=np.bool_)
    for (xa, ya), (xb, yb) in zip(ring, [*ring[1:], ring[0]], strict=True):
        first, end = (math.ceil(y - 0.5) for y in sorted((ya, yb)))
        rows = np.arange(max(first, 0), min(end, height))
        if rows.size:
            x = xa + (rows + 0.5 - ya) * (xb - xa) / (yb - ya)
            is_crossed[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)] ^= True
    return np.asarray(np.logical_xor.accumulate(is_crossed[:, :width], axis=1))


def _crop(mask: MaskArray, boxes: Sequence[BBox], *, is_exact: bool) -> Outline:
    rows, columns = _pixels(
        (
            min(box[0] for box in boxes),
            min(box[1] for box in boxes),
            max(box[2] for box in boxes),
            max(box[3] for box in boxes),
        )
    )
    return Outline(
        boxes=tuple(boxes),
        left=columns.start,
        top=rows.start,
        mask=mask[rows, columns].copy(),
        is_exact=is_exact,
    )
