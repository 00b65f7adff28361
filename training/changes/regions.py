"""Regions of a picture that an edit takes: drawn shapes, and areas of one colour grown from a seed.

Knows no edit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from adcopilot_edge.training.synthetic.canvas import MARGIN, Point, blob, dilate, log_uniform
from adcopilot_edge.types import FloatArray, MaskArray

_SMALLEST_PX = 5.0
_LARGEST = 0.16
"""Radius of the largest shape, in sides of the picture."""
_RIM = 6
"""Pixels around a shape that its window shows, for the look of what surrounds it."""
_CELL = 3
"""Side of the cells, in pixels, in which areas of one colour are grown."""
_FEWEST_CELLS = 9
_FULLEST = 0.7
"""Share of its window that an area may cover; a fuller one is the ground, not a thing on it."""


@dataclass(frozen=True, slots=True)
class Region:
    """A window of a picture and how much of each of its pixels belongs to the region.

    left, top: of the window. alpha: mode ``L``, of the window's size.
    """

    left: int
    top: int
    alpha: Image.Image

    @property
    def window(self) -> tuple[int, int, int, int]:
        """The window as (left, top, right, bottom)."""
        return (
            self.left,
            self.top,
            self.left + self.alpha.width,
            self.top + self.alpha.height,
        )

    @property
    def weights(self) -> FloatArray:
        """The alpha as (H, W, 1) float32, 0..1."""
        return np.asarray(self.alpha, dtype=np.float32)[:, :, None] / np.float32(255.0)

    @property
    def surround(self) -> MaskArray:
        """The pixels of the window outside the region, (H, W) bool."""
        return np.asarray(self.alpha) < 16

    def at(self, left: int, top: int) -> Region:
        """The same shape with its window at another place."""
        return Region(left, top, self.alpha)


def draw_region(
    rng: np.random.Generator, picture: Image.Image, *, grown_share: float
) -> Region | None:
    """A random region of a square ``picture``; None where it doesn't fit.

    Args:
        rng: the source of randomness.
        picture: mode ``RGB``.
        grown_share: how often an area of one colour is looked for, 0..1; where there is none, a
            shape is drawn.
    """
    if rng.random() < grown_share:
        grown = grow_region(rng, picture)
        if grown is not None:
            return grown
    return draw_shape(rng, picture.width)


def draw_shape(rng: np.random.Generator, side: int) -> Region | None:
    """A spot, ellipse or polygon in a picture of ``side`` pixels; None where it doesn't fit."""
    radius = log_uniform(rng, _SMALLEST_PX, _LARGEST * side)
    reach = math.ceil(1.7 * radius) + _RIM
    extent = 2 * reach
    inset = MARGIN + math.ceil(0.5 * radius)
    x, y = rng.integers(inset, side - inset, 2).tolist()
    image = Image.new("L", (extent, extent))
    ImageDraw.Draw(image).polygon(_outline(rng, (reach, reach), radius), fill=255)
    softness = float(rng.uniform(0.4, 1.0 + 0.12 * radius))
    soft = image.filter(ImageFilter.GaussianBlur(softness))
    return _clip(soft, x - reach, y - reach, side)


def grow_region(rng: np.random.Generator, picture: Image.Image) -> Region | None:
    """An area of one colour around a random point of a square ``picture``; None without one."""
    side = picture.width
    reach = math.ceil(1.4 * _LARGEST * side)
    x, y = rng.integers(2 * MARGIN, side - 2 * MARGIN, 2).tolist()
    left, top = max(0, x - reach), max(0, y - reach)
    right, bottom = min(side, x + reach), min(side, y + reach)
    window = picture.crop((left, top, right, bottom))
    cells = np.asarray(window.reduce(_CELL), dtype=np.float32)
    row = min((y - top) // _CELL, cells.shape[0] - 1)
    column = min((x - left) // _CELL, cells.shape[1] - 1)
    colour, tolerance = cells[row, column], rng.uniform(14.0, 42.0)
    near = _connected(np.abs(cells - colour).max(axis=2) < tolerance, row, column)
    count = int(np.count_nonzero(near))
    if count < _FEWEST_CELLS or count > _FULLEST * near.size:
        return None
    coarse = _to_alpha(dilate(near)).resize(window.size, Image.Resampling.NEAREST)
    distance = np.abs(np.asarray(window, dtype=np.float32) - colour).max(axis=2)
    alike = _to_alpha(distance < tolerance).filter(ImageFilter.MedianFilter(3))
    limit = Image.new("L", window.size)  # or an area that goes on would end in a straight line
    spot = blob(rng, (x - left, y - top), 0.75 * reach, roughness=0.15)
    ImageDraw.Draw(limit).polygon(spot, fill=255)
    area = ImageChops.darker(ImageChops.darker(coarse, alike), limit)
    soft = area.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.6, 1.6))))
    return _clip(soft, left, top, side)


def _outline(rng: np.random.Generator, centre: Point, radius: float) -> list[Point]:
    kind = rng.random()
    if kind < 0.45:
        return blob(rng, centre, radius)
    if kind < 0.7:
        return blob(rng, centre, radius, roughness=0.0)
    count = int(rng.integers(3, 7))
    turns = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * (2.0 * math.pi / count)
    turns += rng.uniform(0.0, 2.0 * math.pi)
    reach = radius * rng.uniform(0.7, 1.4, count)
    xs, ys = centre[0] + reach * np.cos(turns), centre[1] + reach * np.sin(turns)
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def _connected(allowed: MaskArray, row: int, column: int) -> MaskArray:
    """The cells of ``allowed`` (H, W) that neighbours lead to from one of them."""
    reached = np.zeros_like(allowed)
    reached[row, column] = True
    count = 0
    while count != (count := int(np.count_nonzero(reached))):
        reached = dilate(dilate(reached) & allowed) & allowed
    return reached


def _to_alpha(mask: MaskArray) -> Image.Image:
    """``mask`` (H, W) as mode ``L``, 0 or 255."""
    return Image.fromarray(mask.astype(np.uint8) * np.uint8(255))


def _clip(alpha: Image.Image, left: int, top: int, side: int) -> Region | None:
    """The window around what is not empty in ``alpha``, cut to a picture of ``side`` pixels."""
    bounds = alpha.getbbox()
    if bounds is None:
        return None
    x1, y1 = max(0, left + bounds[0] - _RIM), max(0, top + bounds[1] - _RIM)
    x2, y2 = min(side, left + bounds[2] + _RIM), min(side, top + bounds[3] + _RIM)
    if min(x2 - x1, y2 - y1) <= 2 * _RIM:
        return None
    return Region(x1, y1, alpha.crop((x1 - left, y1 - top, x2 - left, y2 - top)))
