"""Flecks of a material: small spots of one tone, strewn anew over each piece, and no defect."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adcopilot_edge.training.synthetic.canvas import log_uniform, smooth_noise
from adcopilot_edge.types import FloatArray

Flecks = Callable[[np.random.Generator], FloatArray]
"""What one more piece's flecks add to its pixels: (E, E, 3) or (1, 1, 1) float32."""

_SHARE = 0.5
"""How many products have any."""


def draw_flecks(rng: np.random.Generator, extent: int) -> Flecks:
    """The flecks of one product: their size, tone and number are shared, their places are not."""
    has_any = rng.random() < _SHARE
    cell, rarity = float(log_uniform(rng, 1.2, 5.0)), float(rng.uniform(1.4, 2.8))
    reach = float(rng.uniform(5.0, 45.0))
    tone = np.full(3, rng.choice((-1.0, 1.0)), dtype=np.float32)
    if rng.random() < 0.4:
        tone = rng.uniform(-1.0, 1.0, 3).astype(np.float32)

    def flecks(fresh: np.random.Generator) -> FloatArray:
        if not has_any:
            return np.zeros((1, 1, 1), dtype=np.float32)
        spots = smooth_noise(fresh, extent, extent, cell) > rarity
        return spots[:, :, None] * (tone * np.float32(reach))

    return flecks
