"""Changes that keep what golden and test have to do with each other: turned, moved, lit anew.

Works on canvases with the generator's margin. Knows neither files nor kinds of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from adcopilot_edge.training.folder.settings import FolderSettings, Symmetry
from adcopilot_edge.training.synthetic.canvas import MARGIN
from adcopilot_edge.training.synthetic.drawing import Mark
from adcopilot_edge.training.synthetic.nuisance import CENTRED, photograph, take_view
from adcopilot_edge.types import ImageArray, MaskArray

_AS_TAKEN_SHARE = 0.3
"""Pairs whose pixels stay as the camera gave them, but for being turned and moved."""

Turn = Image.Transpose | None
_FLIPS: tuple[Turn, ...] = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
)
_TURNS: dict[Symmetry, tuple[Turn, ...]] = {
    "none": (None,),
    "flips": _FLIPS,
    "all": (
        *_FLIPS,
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.TRANSVERSE,
    ),
}


def pad_picture(picture: Image.Image) -> Image.Image:
    """``picture`` as a canvas: mirrored beyond its border for as far as the margin goes."""
    width = ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    return Image.fromarray(np.pad(np.asarray(picture), width, mode="reflect"))


def pad_mark(mark: Mark) -> Mark:
    """The mark on the canvas; a defect at the border is mirrored with the picture."""
    return Mark(mark.label, np.pad(mark.mask, MARGIN, mode="reflect"))


def draw_turn(rng: np.random.Generator, symmetry: Symmetry) -> Turn:
    """One of the turns that are allowed; None leaves a picture as it is."""
    turns = _TURNS[symmetry]
    return turns[int(rng.integers(len(turns)))]


def turn_picture(picture: Image.Image, turn: Turn) -> Image.Image:
    """``picture`` turned."""
    return picture if turn is None else picture.transpose(turn)


def turn_mask(mask: MaskArray, turn: Turn) -> MaskArray:
    """``mask`` (H, W) turned as a picture is."""
    if turn is None:
        return mask
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).transpose(turn)) > 0


def shoot(
    rng: np.random.Generator,
    canvases: tuple[Image.Image, Image.Image],
    marks: Sequence[Mark],
    size: int,
    settings: FolderSettings,
) -> tuple[ImageArray, ImageArray, tuple[Mark, ...]]:
    """Golden and test (S, S, 3), moved together and each lit on its own, and the marks, moved too.

    A mark that the move takes out of the picture is empty.

    Args:
        rng: the source of randomness.
        canvases: golden and test, mode ``RGB``, with margin.
        marks: on the test's canvas.
        size: side of the images in pixels.
        settings: how far they may be moved and lit.
    """
    dx, dy = np.clip(rng.normal(0.0, settings.shift_px / 2, 2), -MARGIN, MARGIN).round().tolist()
    view = (*CENTRED[:2], CENTRED[2] + dx, *CENTRED[3:5], CENTRED[5] + dy)
    golden, test = (take_view(canvas, view, size) for canvas in canvases)
    top, left = MARGIN + round(dy), MARGIN + round(dx)
    moved = [Mark(mark.label, mark.mask[top : top + size, left : left + size]) for mark in marks]
    strength = float(rng.uniform(0.0, settings.light))
    if settings.light == 0.0 or rng.random() < _AS_TAKEN_SHARE:
        pixels = np.asarray(golden), np.asarray(test)
    else:
        pixels = photograph(rng, golden, strength), photograph(rng, test, strength)
    return (*pixels, tuple(moved))
