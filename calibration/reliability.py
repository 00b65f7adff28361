"""The reliability diagram: what scores promise against what came true, before and after."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from adcopilot_edge.calibration.temperature import NUM_BINS, Reliability
from adcopilot_edge.runtime.font import fit_text, text_font
from adcopilot_edge.runtime.marks import SOURCE_COLOURS

# All lengths are pixels of the finished picture.
_SIDE = 400  # of the square from 0 to 1
_LEFT, _TOP, _BOTTOM, _GAP, _RIGHT = 76, 92, 76, 76, 28
_LARGEST_DOT = 13  # radius, of the bin with most parts; the area of a dot stands for its parts
_SMALLEST_DOT = 3

_BACKGROUND = "#f6f7f9"
_INK = "#1b1f24"
_FAINT = "#626c78"
_GRID = "#dde1e6"


def draw_reliability(before: Reliability, after: Reliability, title: str) -> Image.Image:
    """Return two squares side by side as one RGB picture.

    A dot is a bin of scores: to the right what they promise, up the share of bad parts among them.
    On the diagonal both agree; its distance is drawn as a line.

    Args:
        before: Of the model's scores.
        after: Of the scores at the temperature.
        title: One line, cut where it is too long.

    Raises:
        ConfigError: This Pillow can't draw text.
    """
    width = _LEFT + _SIDE + _GAP + _SIDE + _RIGHT
    picture = Image.new("RGB", (width, _TOP + _SIDE + _BOTTOM), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    heading = text_font(20)
    draw.text(
        (_LEFT, 32), fit_text(title, heading, width - _LEFT - _RIGHT), _INK, heading, anchor="ls"
    )
    _draw_square(draw, before, "model's score", _LEFT)
    _draw_square(draw, after, "at the temperature", _LEFT + _SIDE + _GAP)
    small = text_font(14)
    label = Image.new("RGB", (_SIDE, 24), _BACKGROUND)
    ImageDraw.Draw(label).text((_SIDE // 2, 12), "share of bad parts", _INK, small, anchor="mm")
    picture.paste(label.rotate(90, expand=True), (14, _TOP))
    return picture


def _draw_square(
    draw: ImageDraw.ImageDraw, reliability: Reliability, title: str, left: int
) -> None:
    """Draw axes, diagonal and dots with the lower left corner at ``left``."""
    small = text_font(14)
    floor = _TOP + _SIDE
    error = f"{title}: expected calibration error {reliability.calibration_error:.4f}"
    draw.text((left, _TOP - 16), fit_text(error, small, _SIDE), _INK, small, anchor="ls")
    for index in range(NUM_BINS + 1):
        step = round(_SIDE * index / NUM_BINS)
        draw.line((left + step, _TOP, left + step, floor), fill=_GRID)
        draw.line((left, floor - step, left + _SIDE, floor - step), fill=_GRID)
        if index % 2 == 0:
            label = f"{index / NUM_BINS:g}"
            draw.text((left + step, floor + 8), label, _FAINT, small, anchor="mt")
            draw.text((left - 8, floor - step), label, _FAINT, small, anchor="rm")
    draw.line((left, floor, left + _SIDE, _TOP), fill=_FAINT, width=2)
    draw.text((left + _SIDE // 2, floor + 34), "mean score", _INK, small, anchor="mt")
    most = int(reliability.counts.max())
    for count, x, y in zip(
        reliability.counts, reliability.promised, reliability.came_true, strict=True
    ):
        if count:
            _draw_dot(draw, left + _SIDE * x, floor - _SIDE * y, floor - _SIDE * x, count / most)


def _draw_dot(
    draw: ImageDraw.ImageDraw, x: float, y: float, diagonal_y: float, share: float
) -> None:
    """Draw a bin at (x, y), its line to the diagonal, its area by its share of the largest bin."""
    colour = SOURCE_COLOURS["text"]
    radius = max(_SMALLEST_DOT, _LARGEST_DOT * float(np.sqrt(share)))
    draw.line((x, y, x, diagonal_y), fill=colour, width=2)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline="white")
