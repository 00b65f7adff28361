"""How alike two pictures of a product look: vectors that say how a part lies, whatever the light.

Knows no files and no defects. Features of a checkpoint's vision tower may take the place of
``describe_picture``: whatever maps a picture to a vector of length 1 is a ``Describe``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcopilot_edge.types import FloatArray

Describe = Callable[[Image.Image], FloatArray]
"""From an RGB picture of any size to a (C,) float32 vector of length 1. To be used by several
processes it must be picklable: a function of a module."""

_SIDE = 64  # all pictures are averaged to this many pixels a side
_COARSE = 16  # cells a side in which the grey is compared
_CELLS = 8  # and the directions of edges
_DIRECTIONS = 8
_COLOUR_CELLS = 4
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

# In grey levels of 255: what is weaker is noise, and must not be blown up to a pattern.
_GREY_FLOOR = 2.0
_EDGE_FLOOR = 1.0
# How much the three views count; what is left for pictures that show nothing at all.
_GREY_WEIGHT, _EDGE_WEIGHT, _COLOUR_WEIGHT, _CONSTANT = 1.0, 1.0, 2.0, 0.1


def describe_picture(picture: Image.Image) -> FloatArray:
    """The light descriptor: coarse grey, directions of edges, and colour, each on a grid.

    The grey is free of its mean and contrast, so that exposure does not count; edges have signed
    directions, so that a part turned by 180 degrees is another one; colours are shares of the
    brightness. Proportions don't count: the picture is squeezed to a square.

    Args:
        picture: RGB, any size.

    Returns:
        (801,) float32 of length 1.
    """
    small = picture.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32)
    grey = pixels @ _LUMA
    parts = (
        _GREY_WEIGHT * _coarse_grey(grey),
        _EDGE_WEIGHT * _edge_directions(grey),
        _COLOUR_WEIGHT * _colours(pixels),
        np.full(1, _CONSTANT),
    )
    vector = np.concatenate(parts)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def _coarse_grey(grey: FloatArray) -> NDArray[np.floating]:
    """(256,) of length up to 1: the grey of each cell without the mean of all."""
    cells = _mean_cells(grey[:, :, np.newaxis], _COARSE).ravel()
    return _unit(cells - cells.mean(), _GREY_FLOOR * _COARSE)


def _edge_directions(grey: FloatArray) -> NDArray[np.floating]:
    """(512,) of length up to 1: in each cell how strong edges of each direction are.

    An edge belongs to the two nearest directions and to the four nearest cells by parts, so that a
    small move changes little. The root keeps one strong edge from hiding all others.
    """
    down, across = np.gradient(grey)
    strength = np.hypot(down, across)
    turn = np.arctan2(down, across) / (2 * np.pi) * _DIRECTIONS % _DIRECTIONS
    distance = np.abs(turn[:, :, np.newaxis] - np.arange(_DIRECTIONS))
    nearness = np.clip(1 - np.minimum(distance, _DIRECTIONS - distance), 0, None)
    pool = _pooling(_SIDE, _CELLS)
    directed = strength[:, :, np.newaxis] * nearness
    cells = np.einsum("iy,yxd,jx->ijd", pool, directed, pool, optimize=True)
    return _unit(np.sqrt(cells).ravel(), np.sqrt(_EDGE_FLOOR) * _CELLS)


def _colours(pixels: FloatArray) -> NDArray[np.floating]:
    """(32,): red against green, and both against blue, as shares of the brightness."""
    cells = _mean_cells(pixels, _COLOUR_CELLS)
    red, green, blue = np.moveaxis(cells, 2, 0)
    whole = red + green + blue + 24.0  # black has no colour
    shares = np.stack([red - green, (red + green) / 2 - blue]) / whole
    return np.asarray(shares.ravel() / _COLOUR_CELLS)


def _mean_cells(values: NDArray[np.floating], cells: int) -> NDArray[np.floating]:
    """(cells, cells, K) means of (S, S, K)."""
    step = len(values) // cells
    return np.asarray(values.reshape(cells, step, cells, step, -1).mean(axis=(1, 3)))


def _pooling(side: int, cells: int) -> NDArray[np.floating]:
    """(cells, side): each pixel's share in the cells around it, falling off to the next centre."""
    step = side / cells
    centres = (np.arange(cells) + 0.5) * step
    pixels = np.arange(side) + 0.5
    shares = np.clip(1 - np.abs(centres[:, np.newaxis] - pixels) / step, 0, None)
    return np.asarray(shares / step)


def _unit(values: NDArray[np.floating], floor: float) -> NDArray[np.floating]:
    """``values`` of length 1, or less as far as they don't rise above ``floor``."""
    return np.asarray(values / (np.linalg.norm(values) + floor))
