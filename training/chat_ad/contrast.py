"""How a defect stands out, in one word: by its light and colour against what should be there.

Knows no files. Differences are in units of CIELAB (D65): the lightness L from 0, black, to 100,
white, and the colours a and b; 2.3 units can just be seen. The rules:

- Against an aligned template, pixel by pixel, less the median difference around the defect, which
  is that of the light. Only pixels that changed by 10 units or more count; where they are less than
  1 % of the defect's, or fewer than 4, it is ``similar in tone``.
- Else against a ring around the defect, a quarter of its length wide and free of all defects. The
  means must differ by more than half the ring's standard deviation too, or texture would count.
- ``darker`` or ``brighter``: the mean L differs by 5 units. ``differently coloured``: a and b
  differ by 8 units, and by more than L. Nothing is said where changes to both sides cancel out, nor
  of a box that hardly differs from its ring: it may hold little of the defect.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.training.chat_ad.mined import ContrastWord
from adcopilot_edge.training.chat_ad.outline import Outline
from adcopilot_edge.types import ImageArray, MaskArray

_LIGHT, _COLOUR = 5.0, 8.0  # the differences that have a name
_CHANGED = 10.0
_LEAST_CHANGED_SHARE, _LEAST_CHANGED = 0.01, 4
_LEAST_ONE_WAY = 0.3  # of the mean change what must be left when both directions are summed up
_RING_OF_LENGTH, _LEAST_RING, _RING_OF_DIAGONAL = 0.25, 3, 0.02
_LEAST_AROUND = 16  # pixels of a ring that say something
_SPREADS = 0.5
_MOST_PIXELS = 1 << 20  # of a window; of a larger one every second, third, ... row and column

_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32
)
_WHITE = _TO_XYZ.sum(axis=1)


def contrast_word(
    picture: ImageArray, outline: Outline, defective: MaskArray, template: ImageArray | None
) -> ContrastWord | None:
    """The word for how a defect stands out; None where that can't be said.

    Args:
        picture: (H, W, 3) uint8 RGB.
        outline: Where the defect is.
        defective: (H, W) bool, the pixels of all defects of the picture.
        template: The aligned normal picture, of the same shape, or None.
    """
    rows, columns, inside, around = _surroundings(outline, defective)
    test = to_lab(picture[rows, columns])
    if template is not None:
        return _against_template(test - to_lab(template[rows, columns]), inside, around)
    if np.count_nonzero(around) < _LEAST_AROUND or not inside.any():
        return None
    ring = test[around]
    spread = _SPREADS * ring.std(axis=0)
    word = _word(
        test[inside].mean(axis=0) - ring.mean(axis=0),
        light=max(_LIGHT, float(spread[0])),
        colour=max(_COLOUR, float(np.hypot(spread[1], spread[2]))),
    )
    return word if word or not outline.is_exact else "similar in tone"


def _against_template(
    change: NDArray[np.float32], inside: MaskArray, around: MaskArray
) -> ContrastWord | None:
    """The word for the change (H, W, 3) in L, a, b of the pixels inside."""
    if np.count_nonzero(around) >= _LEAST_AROUND:
        change = change - np.median(change[around], axis=0).astype(np.float32)
    changes = change[inside]
    changes = changes[np.linalg.norm(changes, axis=1) >= _CHANGED]
    if len(changes) < max(_LEAST_CHANGED, _LEAST_CHANGED_SHARE * np.count_nonzero(inside)):
        return "similar in tone"
    mean, size = changes.mean(axis=0), np.linalg.norm(changes, axis=1).mean()
    if np.linalg.norm(mean) < _LEAST_ONE_WAY * size:
        return None
    return _word(mean, light=_LIGHT, colour=_COLOUR)


def _word(change: NDArray[np.float32], *, light: float, colour: float) -> ContrastWord | None:
    """The word for a change (3,) in L, a, b; None below both limits."""
    lightness, tint = float(change[0]), float(np.hypot(change[1], change[2]))
    if tint >= colour and tint > abs(lightness):
        return "differently coloured"
    if abs(lightness) >= light:
        return "brighter" if lightness > 0 else "darker"
    return "differently coloured" if tint >= colour else None


def _surroundings(
    outline: Outline, defective: MaskArray
) -> tuple[slice, slice, MaskArray, MaskArray]:
    """Rows and columns of a window around the defect, its pixels in it, and those of the ring."""
    height, width = outline.mask.shape
    diagonal = math.hypot(*defective.shape)
    ring = round(min(_RING_OF_LENGTH * max(height, width), _RING_OF_DIAGONAL * diagonal))
    ring = max(ring, _LEAST_RING)
    top, left = max(outline.top - ring, 0), max(outline.left - ring, 0)
    bottom = min(outline.top + height + ring, defective.shape[0])
    right = min(outline.left + width + ring, defective.shape[1])
    inside = np.zeros((bottom - top, right - left), dtype=np.bool_)
    y, x = outline.top - top, outline.left - left
    inside[y : y + height, x : x + width] = outline.mask
    around = _widened(inside, ring) & ~_widened(inside, 1) & ~defective[top:bottom, left:right]
    step = math.ceil(math.sqrt(inside.size / _MOST_PIXELS))
    rows, columns = slice(top, bottom, step), slice(left, right, step)
    return rows, columns, inside[::step, ::step], around[::step, ::step]


def _widened(mask: MaskArray, reach: int) -> MaskArray:
    """The pixels with a true one at most ``reach`` rows and columns away."""
    for axis in (0, 1):
        sums = np.cumsum(mask, axis=axis, dtype=np.int32)
        sums = np.concatenate([np.zeros_like(sums.take([0], axis=axis)), sums], axis=axis)
        place = np.arange(mask.shape[axis])
        end = np.minimum(place + reach + 1, mask.shape[axis])
        start = np.maximum(place - reach, 0)
        mask = sums.take(end, axis=axis) > sums.take(start, axis=axis)
    return mask


def to_lab(pixels: ImageArray) -> NDArray[np.float32]:
    """(..., 3) L, a, b of sRGB pixels (..., 3) uint8, by CIE 15 and IEC 61966-2-1."""
    xyz = _LINEAR[pixels] @ _TO_XYZ.T / _WHITE
    roots = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(roots, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def _linear() -> NDArray[np.float32]:
    """(256,): the light of each of sRGB's levels, 0..1."""
    level = np.arange(256) / 255
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


_LINEAR = _linear()
