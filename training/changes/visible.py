"""Which pixels an edit changed, and whether anyone could see it. Knows no edit.

The rule, on the pictures before any light, optics and noise: a pixel is changed when one of its
channels differs by more than ``MIN_CHANGE`` grey levels. The edit counts when at least ``MIN_AREA``
such pixels lie in view, they differ by ``MIN_MEAN`` levels on average, and by half of that still
after a blur (``MIN_SOFT_SHARE`` of what it was, if that is more): another piece of the same grain
differs in every pixel and yet looks the same.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from adcopilot_edge.training.synthetic.canvas import dilate
from adcopilot_edge.training.synthetic.drawing import visible_area
from adcopilot_edge.types import FloatArray, MaskArray

MIN_CHANGE = 12
MIN_AREA = 24
MIN_MEAN = 24.0
MIN_SOFT_SHARE = 0.45
_BLUR_PX = 2.0


def changed_pixels(before: Image.Image, after: Image.Image) -> MaskArray | None:
    """The pixels that differ, (H, W) bool, grown by one; None where the change can't be seen.

    Args:
        before: mode ``RGB``, the whole canvas.
        after: the same after the edit.
    """
    first, second = np.asarray(before), np.asarray(after)
    change = np.maximum(first, second) - np.minimum(first, second)
    largest = change.max(axis=2)
    changed = largest > MIN_CHANGE
    if visible_area(changed) < MIN_AREA:
        return None
    mean = float(largest[changed].mean())
    if mean < MIN_MEAN:
        return None
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    soft = np.abs(_blur(after, box) - _blur(before, box)).max(axis=2)
    inside = changed[box[1] : box[3], box[0] : box[2]]
    least = max(MIN_MEAN / 2, MIN_SOFT_SHARE * mean)
    return dilate(changed) if float(soft[inside].mean()) >= least else None


def _blur(picture: Image.Image, box: tuple[int, int, int, int]) -> FloatArray:
    """The part of ``picture`` in ``box`` after a blur, (H, W, 3) float32."""
    soft = picture.crop(box).filter(ImageFilter.GaussianBlur(_BLUR_PX))
    return np.asarray(soft, dtype=np.float32)
