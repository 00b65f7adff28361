"""Thin lines that belong to a product: lattices, rings, outlines, free curves.

All pieces share them, so that a line is no defect by being one: it has to be missing in the golden.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from adcopilot_edge.training.synthetic.canvas import Colour, log_uniform, wiggle

_MOST_LAYERS = 3


def draw_line_work(
    rng: np.random.Generator, image: Image.Image, colours: Sequence[Colour]
) -> Image.Image:
    """``image`` (mode ``RGB``, square) with one to three layers of lines in some of ``colours``.

    Lines are 1 to 5 pixels wide, with soft edges.
    """
    for _ in range(int(rng.integers(1, _MOST_LAYERS + 1))):
        # Drawn at twice the size: Pillow's own lines have hard edges.
        layer = Image.new("L", (2 * image.width, 2 * image.height))
        width = round(log_uniform(rng, 2.0, 10.0))
        _LAYERS[int(rng.integers(len(_LAYERS)))](rng, layer, width)
        colour = colours[int(rng.integers(len(colours)))]
        image.paste(colour, (0, 0), layer.resize(image.size, Image.Resampling.BOX))
    return image


def _lattice(rng: np.random.Generator, layer: Image.Image, width: int) -> None:
    """Parallel lines along one direction, or along two."""
    pen, extent = ImageDraw.Draw(layer), layer.width
    turn = 0.0 if rng.random() < 0.5 else float(rng.uniform(0.0, math.pi))
    pitch = float(log_uniform(rng, 8.0 * width, 0.8 * extent))
    middle = extent / 2
    for direction in (turn, turn + math.pi / 2)[: int(rng.integers(1, 3))]:
        cos, sin = math.cos(direction), math.sin(direction)
        for offset in np.arange(-extent + rng.uniform(0.0, pitch), extent, pitch).tolist():
            x, y = middle - sin * offset, middle + cos * offset
            ends = (x - cos * extent, y - sin * extent, x + cos * extent, y + sin * extent)
            pen.line(ends, fill=255, width=width)


def _rings(rng: np.random.Generator, layer: Image.Image, width: int) -> None:
    """Circles about one point."""
    pen, extent = ImageDraw.Draw(layer), layer.width
    x, y = rng.uniform(0.0, extent, 2).tolist()
    radius = float(log_uniform(rng, 10.0, 0.4 * extent))
    pitch = float(log_uniform(rng, 4.0 * width, 0.5 * extent))
    for _ in range(int(rng.integers(1, 7))):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=255, width=width)
        radius += pitch


def _outlines(rng: np.random.Generator, layer: Image.Image, width: int) -> None:
    """One shape again and again, each time elsewhere."""
    pen, extent = ImageDraw.Draw(layer), layer.width
    reach, corners = float(log_uniform(rng, 12.0, 0.25 * extent)), int(rng.integers(2, 9))
    for _ in range(int(log_uniform(rng, 2, 30))):
        x, y = rng.uniform(0.0, extent, 2).tolist()
        if corners == 2:
            pen.ellipse((x - reach, y - reach, x + reach, y + reach), outline=255, width=width)
            continue
        angles = rng.uniform(0.0, 2 * math.pi) + np.arange(corners + 1) * (2 * math.pi / corners)
        path = [(x + reach * math.cos(angle), y + reach * math.sin(angle)) for angle in angles]
        pen.line(path, fill=255, width=width, joint="curve")


def _curves(rng: np.random.Generator, layer: Image.Image, width: int) -> None:
    """Free curves, some as short as a scratch."""
    pen, extent = ImageDraw.Draw(layer), layer.width
    for _ in range(int(log_uniform(rng, 2, 20))):
        x, y = rng.uniform(0.0, extent, 2).tolist()
        length, turn = float(log_uniform(rng, 30.0, extent)), float(rng.uniform(0.0, 2 * math.pi))
        end = (x + length * math.cos(turn), y + length * math.sin(turn))
        path = wiggle(rng, (x, y), end, amplitude=float(rng.uniform(0.0, 0.2)) * length)
        pen.line(path, fill=255, width=width, joint="curve")


_LAYERS: tuple[Callable[[np.random.Generator, Image.Image, int], None], ...] = (
    _lattice,
    _rings,
    _outlines,
    _curves,
)
