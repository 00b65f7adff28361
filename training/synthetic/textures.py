"""Surfaces without parts: woven cloth, brushed metal, granular matter. Drawn twice for one pair.

Both drawings share the pattern; the fine grain is drawn anew for each, as no two real pieces
share it. A pixel difference therefore finds more than the defects.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from adcopilot_edge.training.synthetic.canvas import random_colour, smooth_noise, to_image
from adcopilot_edge.types import FloatArray

Redraw = Callable[[np.random.Generator], Image.Image]
"""Draws one more piece of the same product, mode ``RGB``, with its own grain."""


def draw_woven(rng: np.random.Generator, extent: int) -> Redraw:
    """Cloth: two families of threads that pass over and under each other."""
    warp_colour, weft_colour = _two_colours(rng)
    pitch_x, pitch_y = rng.uniform(5.0, 14.0, 2).tolist()
    angle = rng.uniform(-0.3, 0.3) if rng.random() < 0.5 else rng.uniform(0.0, math.pi)
    rows, columns = np.mgrid[0:extent, 0:extent].astype(np.float32)
    sway = smooth_noise(rng, extent, extent, 40.0) * np.float32(rng.uniform(0.0, 0.6))
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    across = (columns * cos + rows * sin + sway) / np.float32(pitch_x)
    down = (rows * cos - columns * sin + sway) / np.float32(pitch_y)
    skip = int(rng.integers(1, 4))
    over = (np.floor(across) + skip * np.floor(down)) % (skip + 1) < 1
    crown = np.float32(math.pi)
    shade = np.where(over, np.abs(np.sin(across * crown)), np.abs(np.sin(down * crown)))
    relief = 0.45 + 0.55 * shade
    base = np.where(over[:, :, None], warp_colour, weft_colour) * relief[:, :, None]
    strength = rng.uniform(3.0, 10.0)

    def redraw(fresh: np.random.Generator) -> Image.Image:
        grain = smooth_noise(fresh, extent, extent, 2.0) * np.float32(strength)
        grain += smooth_noise(fresh, extent, extent, 25.0) * np.float32(strength * 0.3)
        return Image.fromarray(to_image(base + grain[:, :, None]))

    return redraw


def draw_brushed(rng: np.random.Generator, extent: int) -> Redraw:
    """Metal with fine parallel grooves and a soft highlight."""
    tone = float(rng.uniform(80.0, 200.0))
    tint = np.asarray(rng.uniform(0.92, 1.08, 3) * tone, dtype=np.float32)
    along = rng.uniform(20.0, 90.0)
    shared = _grooves(rng, extent, along) * np.float32(rng.uniform(4.0, 12.0))
    shared += smooth_noise(rng, extent, extent, 90.0) * np.float32(12.0)
    fresh_strength = rng.uniform(2.0, 9.0)
    is_upright = rng.random() < 0.5

    def redraw(fresh: np.random.Generator) -> Image.Image:
        grooves = shared + _grooves(fresh, extent, along) * np.float32(fresh_strength)
        image = Image.fromarray(to_image(grooves[:, :, None] + tint))
        return image.transpose(Image.Transpose.TRANSPOSE) if is_upright else image

    return redraw


def draw_granular(rng: np.random.Generator, extent: int) -> Redraw:
    """Cast, sanded or sintered matter: grains of two or three tones."""
    base = np.asarray(random_colour(rng, 50, 210), dtype=np.float32)
    cell = rng.uniform(2.0, 6.0)
    shared_strength, fresh_strength = rng.uniform(0.0, 16.0), rng.uniform(3.0, 12.0)
    shared = smooth_noise(rng, extent, extent, cell) * np.float32(shared_strength)
    shared += smooth_noise(rng, extent, extent, 50.0) * np.float32(6.0)
    has_flecks = rng.random() < 0.5
    fleck = np.asarray(rng.uniform(-45.0, 45.0, 3), dtype=np.float32)
    threshold = rng.uniform(1.4, 2.0)

    def redraw(fresh: np.random.Generator) -> Image.Image:
        field = smooth_noise(fresh, extent, extent, cell)
        pixels = base + (shared + field * np.float32(fresh_strength))[:, :, None]
        if has_flecks:
            flecks = smooth_noise(fresh, extent, extent, cell) > threshold
            pixels += flecks[:, :, None] * fleck
        return Image.fromarray(to_image(pixels)).filter(ImageFilter.GaussianBlur(0.6))

    return redraw


def _grooves(rng: np.random.Generator, extent: int, length: float) -> FloatArray:
    """(E, E) float32 noise of about unit deviation, stretched to ``length`` px along the rows."""
    columns = max(3, round(extent / length) + 2)
    grid = rng.standard_normal((extent, columns), dtype=np.float32)
    image = Image.fromarray(grid).resize((extent, extent), Image.Resampling.BICUBIC)
    return np.array(image)


def _two_colours(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Two thread colours, (3,) float32: equal, related or unrelated."""
    first = np.asarray(random_colour(rng, 60, 245), dtype=np.float32)
    kind = rng.random()
    if kind < 0.4:
        return first, first
    if kind < 0.8:
        return first, np.clip(first + np.float32(rng.uniform(-50.0, 50.0)), 20, 255)
    return first, np.asarray(random_colour(rng, 60, 245), dtype=np.float32)
