"""How a map is told to the comparison tokens: means over equal parts, wherever the cuts lie.

One rule for the torch model and the exported graph.
"""

from __future__ import annotations

import numpy as np

from adcopilot_edge.types import FloatArray

TOLD_GAIN = 32.0
"""What a token is told of the map, in 0..1, is multiplied by this. It is added to the rest of the
token, whose numbers are about 10 in a trained model, and would hardly be heard beside them."""


def area_shares(count: int, size: int) -> FloatArray:
    """What each of ``size`` cells in a row adds to the mean of each of ``count`` equal parts of it.

    Returns (count, size) float32 whose rows sum to 1; a cell that a cut goes through adds to both
    sides by how much of it lies there.
    """
    cuts = np.arange(count + 1) * (size / count)
    cells = np.arange(size)
    overlap = np.minimum(cuts[1:, None], cells + 1) - np.maximum(cuts[:-1, None], cells)
    shares: FloatArray = (np.clip(overlap, 0.0, None) * (count / size)).astype(np.float32)
    return shares
