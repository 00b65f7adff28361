"""Tells pictures from random numbers, which give ranges that no part of a line ever reaches."""

from __future__ import annotations

import numpy as np

from adcopilot_edge.types import FloatArray, ImageArray

# Tiles of DeepPCB have at least 0.7, photographs of a line 0.85; noise of 56 x 56 pixels 0 +- 0.02.
_LEAST_CORRELATION = 0.1


def is_noise(image: ImageArray) -> bool:
    """Whether neighbouring pixels of ``image`` (H, W, 3) tell nothing about each other.

    An image of one colour is no noise.
    """
    grey = image.astype(np.float32).mean(axis=2)
    found = [_correlate(grey[:, 1:], grey[:, :-1]), _correlate(grey[1:], grey[:-1])]
    return max(found) < _LEAST_CORRELATION


def _correlate(one: FloatArray, other: FloatArray) -> float:
    """Pearson's correlation of two arrays of equal shape; 1 where one of them does not vary."""
    if not one.size:
        return 1.0
    one, other = one - one.mean(dtype=np.float64), other - other.mean(dtype=np.float64)
    scale = float(np.sqrt((one**2).mean() * (other**2).mean()))
    return float((one * other).mean() / scale) if scale else 1.0
