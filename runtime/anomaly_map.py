"""The anomaly map: from logits to probabilities, and to boxes in pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from adcopilot_edge.metrics import draw_boxes
from adcopilot_edge.regions import connected_boxes
from adcopilot_edge.types import BBox, FloatArray


def map_probabilities(logits: FloatArray) -> FloatArray:
    """Return the sigmoid of ``logits`` (rows, columns): float32 in 0..1."""
    # Half a tangent: the sigmoid without an exponential that could overflow.
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), dtype=np.float32)


def map_boxes(
    anomaly_map: FloatArray, *, threshold: float, height: int, width: int, margin: int = 0
) -> list[BBox]:
    """Return the box around each region of the map that reaches the threshold.

    The map is first enlarged to the image's size, bilinearly and with the values at the centres of
    its cells, so that a box does not snap to their grid. Boxes that meet once they have their
    margin are one.

    Args:
        anomaly_map: (rows, columns) float32 in 0..1.
        threshold: Lowest value that belongs to a region.
        height: Rows of the image that the map covers, in pixels.
        width: Columns of that image.
        margin: Pixels that each box gets on every side, within the image.
    """
    enlarged = Image.fromarray(anomaly_map).resize((width, height), Image.Resampling.BILINEAR)
    boxes = connected_boxes(np.asarray(enlarged) >= threshold, min_area=1)
    if not margin:
        return boxes
    wider = [(x1 - margin, y1 - margin, x2 + margin, y2 + margin) for x1, y1, x2, y2 in boxes]
    return connected_boxes(draw_boxes(wider, height, width), min_area=1)
