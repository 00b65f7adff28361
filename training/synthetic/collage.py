"""Heaps of shapes with patterns of their own: no product, but every kind of edge and texture.

After the dead-leaves images that vision is studied with: shapes of all sizes, as many in each
octave, lie over one another until nothing of the ground is left. A model that has seen these is
less surprised by a product it never met.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from adcopilot_edge.training.synthetic.canvas import (
    Colour,
    log_uniform,
    random_colour,
    smooth_noise,
    to_image,
)
from adcopilot_edge.training.synthetic.flecks import draw_flecks
from adcopilot_edge.training.synthetic.line_work import draw_line_work
from adcopilot_edge.training.synthetic.textures import Redraw

_LINED_SHARE = 0.6
"""How many heaps have thin lines over them."""


def draw_collage(rng: np.random.Generator, extent: int) -> Redraw:
    """A heap of shapes; all pieces share it, each has a grain and flecks of its own."""
    heap = Image.new("RGB", (extent, extent), random_colour(rng, 20, 240))
    colours = [random_colour(rng, 10, 245) for _ in range(int(rng.integers(2, 9)))]
    largest = float(rng.uniform(0.12, 0.5)) * extent
    smallest = float(rng.uniform(6.0, 20.0))
    count = int(log_uniform(rng, 8, 140))
    is_patterned = rng.random() < 0.6
    for _ in range(count):
        size = max(smallest, largest * float(rng.random()) ** 2)
        colour = colours[int(rng.integers(len(colours)))]
        fill = _pattern(rng, int(size) + 4, colour) if is_patterned else None
        x, y = rng.uniform(-size / 2, extent - size / 2, 2).tolist()
        shape = _shape(rng, int(size) + 4)
        heap.paste(fill or colour, (round(x), round(y)), shape)
    if rng.random() < _LINED_SHARE:
        heap = draw_line_work(rng, heap, colours)
    if rng.random() < 0.5:
        heap = heap.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.4))))
    base = np.asarray(heap, dtype=np.float32)
    base = base + (smooth_noise(rng, extent, extent, 60.0) * np.float32(8.0))[:, :, None]
    cell, strength = float(rng.uniform(1.5, 6.0)), float(rng.uniform(0.5, 9.0))
    flecks = draw_flecks(rng, extent)

    def redraw(fresh: np.random.Generator) -> Image.Image:
        grain = smooth_noise(fresh, extent, extent, cell) * np.float32(strength)
        return Image.fromarray(to_image(base + grain[:, :, None] + flecks(fresh)))

    return redraw


def _shape(rng: np.random.Generator, side: int) -> Image.Image:
    """The outline of one shape in a square of ``side`` pixels, mode ``L``."""
    shape = Image.new("L", (side, side))
    pen = ImageDraw.Draw(shape)
    middle, reach = side / 2, side / 2 - 1
    kind = int(rng.integers(5))
    flat = float(rng.uniform(0.25, 1.0)) * reach
    box = (middle - reach, middle - flat, middle + reach, middle + flat)
    if kind == 0:
        pen.ellipse(box, fill=255)
    elif kind == 1:
        pen.rounded_rectangle(box, radius=float(rng.uniform(0, flat)), fill=255)
    elif kind == 2:
        pen.regular_polygon((middle, middle, reach), int(rng.integers(3, 9)), fill=255)
    elif kind == 3:
        pen.ellipse(box, outline=255, width=max(2, round(side * float(rng.uniform(0.05, 0.25)))))
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 12))))
        radii = reach * rng.uniform(0.35, 1.0, len(angles))
        points = np.stack([middle + radii * np.cos(angles), middle + radii * np.sin(angles)], 1)
        pen.polygon([(x, y) for x, y in points.tolist()], fill=255)
    return shape.rotate(float(rng.uniform(0, 180)), Image.Resampling.BILINEAR)


def _pattern(rng: np.random.Generator, side: int, colour: Colour) -> Image.Image | None:
    """Stripes, checks, dots or a run of shades in and around ``colour``; None for none of these."""
    kind = int(rng.integers(6))
    if kind >= 4:
        return None
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    angle, pitch = float(rng.uniform(0, np.pi)), float(log_uniform(rng, 3.0, 24.0))
    along = (columns * np.cos(angle) + rows * np.sin(angle)) * np.float32(2 * np.pi / pitch)
    across = (rows * np.cos(angle) - columns * np.sin(angle)) * np.float32(2 * np.pi / pitch)
    if kind == 0:
        field = np.sin(along)
    elif kind == 1:
        field = np.sign(np.sin(along) * np.sin(across))
    elif kind == 2:
        field = np.float32(2) * (np.sin(along) * np.sin(across) > 0.5) - 1
    else:
        field = (columns + rows) / np.float32(side) - 1
    swing = np.asarray(rng.uniform(-45, 45, 3), dtype=np.float32)
    return Image.fromarray(
        to_image(np.asarray(colour, dtype=np.float32) + field[:, :, None] * swing)
    )
