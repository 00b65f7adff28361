"""The marks of a canvas as a view shows them: defects with boxes, and the mask of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from adcopilot_edge.training.synthetic.drawing import Mark
from adcopilot_edge.training.synthetic.records import SyntheticDefect, padded_bounds
from adcopilot_edge.types import ImageArray, MaskArray

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
    rng: np.random.Generator, marks: Sequence[Mark], index: ImageArray
) -> tuple[tuple[SyntheticDefect, ...], MaskArray] | None:
    """The defects seen in the view ``index`` (H, W) and their union; None if one hardly shows."""
    defects = []
    for number, mark in enumerate(marks, start=1):
        mask = index == number
        area = int(np.count_nonzero(mask))
        box = padded_bounds(mask, int(rng.integers(9, 12)))
        if area < _MIN_VISIBLE or box is None:
            return None
        defects.append(SyntheticDefect(label=mark.label, bbox_2d=box, area=area))
    return tuple(defects), index > 0
