"""The marks of a canvas as a view shows them: defects with boxes, and the mask of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from adcopilot_edge.training.synthetic.drawing import Mark
from adcopilot_edge.training.synthetic.records import SyntheticDefect, padded_bounds
from adcopilot_edge.types import BBox, ImageArray, MaskArray

_MIN_VISIBLE = 12


def index_marks(marks: Sequence[Mark], size: tuple[int, int]) -> Image.Image:
    """A mode ``L`` canvas holding 0, or 1 + the number of the mark that owns the pixel.

    size: width and height of the canvas in pixels.
    """
    width, height = size
    index = np.zeros((height, width), dtype=np.uint8)
    for number, mark in enumerate(marks, start=1):
        index[mark.mask] = number
    return Image.fromarray(index)


def find_defects(
    rng: np.random.Generator,
    marks: Sequence[Mark],
    index: ImageArray,
    *,
    room_px: tuple[int, int] = (9, 12),
) -> tuple[tuple[SyntheticDefect, ...], MaskArray] | None:
    """The defects seen in the view ``index`` (H, W) and their union; None if one hardly shows.

    room_px: pixels between a defect and its box, from the first up to but not the second.
    """
    defects = []
    for number, mark in enumerate(marks, start=1):
        mask = index == number
        area = int(np.count_nonzero(mask))
        box = padded_bounds(mask, int(rng.integers(*room_px)))
        if area < _MIN_VISIBLE or box is None:
            return None
        defects.append(SyntheticDefect(label=mark.label, bbox_2d=box, area=area))
    return tuple(defects), index > 0


def box_of(mark: Mark, room_px: int) -> BBox:
    """The box around a mark that is not empty, with room on each side, inside the picture."""
    bounds = padded_bounds(mark.mask, room_px)
    assert bounds is not None
    x1, y1, x2, y2 = bounds
    return float(x1), float(y1), float(x2), float(y2)


def union_of(marks: Sequence[Mark], size: int) -> MaskArray:
    """The pixels of all marks of a picture of ``size`` pixels a side, (S, S) bool."""
    union = np.zeros((size, size), dtype=np.bool_)
    for mark in marks:
        union |= mark.mask
    return union
