"""The type of each region of the anomaly map, from the types that its patches look like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from adcopilot_edge.types import BBox, FloatArray

# A region whose patches agree less than this on one type has none.
LEAST_SHARE = 0.4


def region_types(
    type_logits: FloatArray,
    anomaly_map: FloatArray,
    boxes: Sequence[BBox],
    *,
    names: Sequence[str],
    height: int,
    width: int,
) -> list[str | None]:
    """Return the name of each region's type, or None where its patches do not agree on one.

    The softmax of each patch counts by the anomaly map's value there.

    Args:
        type_logits: (rows, columns, types), a vector for each patch.
        anomaly_map: (rows * k, columns * k) float32 in 0..1, k cells along a patch.
        boxes: Around the regions, in pixels of an image of ``height`` x ``width``.
        names: Of the types, in their order.
        height: Rows of the image that both maps cover.
        width: Columns of that image.
    """
    rows, columns, _ = type_logits.shape
    shifted = np.exp(type_logits - type_logits.max(axis=-1, keepdims=True))
    shares = shifted / shifted.sum(axis=-1, keepdims=True)
    weights = np.asarray(Image.fromarray(anomaly_map).resize((columns, rows), Image.Resampling.BOX))
    found: list[str | None] = []
    for x1, y1, x2, y2 in boxes:
        inside = np.ix_(
            _touched(y1, y2, rows / height, rows), _touched(x1, x2, columns / width, columns)
        )
        weight = weights[inside][..., None]
        share = (shares[inside] * weight).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-12)
        best = int(share.argmax())
        found.append(names[best] if share[best] >= LEAST_SHARE else None)
    return found


def _touched(first: float, last: float, scale: float, count: int) -> range:
    """The patches along one axis that a box from ``first`` to ``last`` touches, at least one."""
    begin = min(int(first * scale), count - 1)
    return range(begin, max(begin + 1, min(count, int(np.ceil(last * scale)))))
