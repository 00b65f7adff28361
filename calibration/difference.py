"""The plain image difference as an inspector: the baseline that a model has to beat.

It has no parameters to learn and no notion of registration error; wherever a figure of a model is
reported, the figure of this stands beside it.
"""

from __future__ import annotations

import numpy as np

from adcopilot_edge.regions import connected_boxes
from adcopilot_edge.types import BBox, FloatArray, ImageArray, MaskArray


def find_differences(
    golden: ImageArray, test: ImageArray, *, threshold: int = 128, opening: int = 4, growth: int = 8
) -> list[BBox]:
    """Boxes around the places where ``test`` differs from ``golden``; an anomaly has at least one.

    Args:
        golden: (H, W, 3) uint8 RGB.
        test: the same shape.
        threshold: grey levels of difference above which a pixel differs; 128 suits 1-bit images.
        opening: side in pixels of the square that must fit into a difference for it to count;
            it removes the thin lines that registration errors leave along edges.
        growth: pixels added to each side of a box, as people draw boxes.
    """
    differs = np.abs(_grey(test) - _grey(golden)) > threshold
    height, width = differs.shape
    return [
        (
            max(0.0, x1 - growth),
            max(0.0, y1 - growth),
            min(float(width), x2 + growth),
            min(float(height), y2 + growth),
        )
        for x1, y1, x2, y2 in connected_boxes(open_mask(differs, opening), min_area=1)
    ]


def mean_difference(golden: ImageArray, test: ImageArray) -> float:
    """How far two images of equal shape (H, W, 3) are apart, on average over the pixels; 0..1."""
    return float(np.abs(_grey(test) - _grey(golden)).mean() / 255)


def open_mask(mask: MaskArray, side: int) -> MaskArray:
    """The union of all ``side`` x ``side`` squares that fit into ``mask`` (H, W), a new array."""
    height, width = mask.shape
    opened = np.zeros_like(mask)
    rows, columns = height - side + 1, width - side + 1
    if rows < 1 or columns < 1:
        return opened
    strips = np.ones((rows, width), dtype=np.bool_)
    for shift in range(side):
        strips &= mask[shift : shift + rows]
    corners = np.ones((rows, columns), dtype=np.bool_)
    for shift in range(side):
        corners &= strips[:, shift : shift + columns]
    widened = np.zeros((rows, width), dtype=np.bool_)
    for shift in range(side):
        widened[:, shift : shift + columns] |= corners
    for shift in range(side):
        opened[shift : shift + rows] |= widened
    return opened


def _grey(image: ImageArray) -> FloatArray:
    """The luminance of (H, W, 3) RGB as (H, W) float32 0..255, by the weights of BT.601."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return image.astype(np.float32) @ weights
