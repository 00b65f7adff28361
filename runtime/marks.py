"""Boxes and their labels, drawn onto a picture so that both stay readable on any ground."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from adcopilot_edge.runtime.font import fit_text, text_font
from adcopilot_edge.types import BBox, BoxSource, Defect

# Blue and orange: told apart by every kind of colour vision, and 5:1 or more against white text.
SOURCE_COLOURS: dict[BoxSource, str] = {"text": "#1259c3", "map": "#c2410c"}

_LINE = 3  # pixels, with a white pixel on either side
_MARGIN = 3  # pixels between a defect and its frame, so that the line hides none of it
_MIN_SIDE = 12  # pixels: a smaller frame would be a blot
_CHIP_FONT_SIZE = 14
_CHIP_PADDING = (5, 2)  # pixels beside and above the text
_CHIP_MAX_TEXT_WIDTH = 170  # pixels


def draw_marks(picture: Image.Image, defects: Sequence[Defect], scale: float) -> None:
    """Draw the defects onto ``picture``, in place.

    Args:
        picture: RGB.
        defects: Boxes in pixels of the inspected image.
        scale: Pixels of ``picture`` for one pixel of the inspected image.
    """
    draw = ImageDraw.Draw(picture)
    frames = [_frame(defect.bbox_2d, scale, picture.size) for defect in defects]
    for defect, frame in zip(defects, frames, strict=True):
        _draw_frame(draw, frame, SOURCE_COLOURS[defect.source])
    taken: list[BBox] = []
    for defect, frame in zip(defects, frames, strict=True):
        taken.append(_draw_chip(draw, defect, frame, frames, taken, picture.size))


def _frame(bbox: BBox, scale: float, size: tuple[int, int]) -> BBox:
    """Return where the middle of the frame's line runs: around the box and inside the picture."""
    x1, y1, x2, y2 = (value * scale for value in bbox)
    half_width = max((x2 - x1) / 2 + _MARGIN, _MIN_SIDE / 2)
    half_height = max((y2 - y1) / 2 + _MARGIN, _MIN_SIDE / 2)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    border = _LINE // 2 + 1
    right, bottom = size[0] - 1 - border, size[1] - 1 - border
    return (
        min(max(x - half_width, border), right),
        min(max(y - half_height, border), bottom),
        max(min(x + half_width, right), border),
        max(min(y + half_height, bottom), border),
    )


def _draw_frame(draw: ImageDraw.ImageDraw, frame: BBox, colour: str) -> None:
    """Draw the line with its white edges."""
    x1, y1, x2, y2 = (round(value) for value in frame)
    for reach, line, ink in ((_LINE // 2 + 1, _LINE + 2, "white"), (_LINE // 2, _LINE, colour)):
        outer = (x1 - reach, y1 - reach, max(x2, x1) + reach, max(y2, y1) + reach)
        draw.rectangle(outer, outline=ink, width=line)


def _draw_chip(
    draw: ImageDraw.ImageDraw,
    defect: Defect,
    frame: BBox,
    frames: Sequence[BBox],
    taken: Sequence[BBox],
    size: tuple[int, int],
) -> BBox:
    """Draw the label on a plate of the frame's colour and return the plate's place."""
    font = text_font(_CHIP_FONT_SIZE)
    beside, above = _CHIP_PADDING
    text = fit_text(defect.label, font, min(_CHIP_MAX_TEXT_WIDTH, size[0] - 2 * beside))
    ascent, descent = font.getmetrics()
    width = round(font.getlength(text)) + 2 * beside
    height = ascent + descent + 2 * above
    places = _places(frame, width, height, size)
    x1, y1, x2, y2 = min(places, key=lambda place: _clutter(place, frames, taken))
    plate = (x1 - 1, y1 - 1, x2, y2)
    draw.rounded_rectangle(
        plate, radius=4, fill=SOURCE_COLOURS[defect.source], outline="white", width=1
    )
    draw.text((x1 + beside, y1 + above), text, fill="white", font=font)
    return x1, y1, x2, y2


def _places(frame: BBox, width: int, height: int, size: tuple[int, int]) -> list[BBox]:
    """Return where a plate could lie, the best place first, all moved inside the picture."""
    x1, y1, x2, y2 = frame
    away = _LINE // 2 + 3
    top, bottom = y1 - away - height, y2 + away
    corners = [
        (x1 - 1, top),
        (x1 - 1, bottom),
        (x2 - width + 2, top),
        (x2 - width + 2, bottom),
        (x2 + away, y1),
        (x1 - away - width, y1),
        (x2 + away, y2 - height),
        (x1 - away - width, y2 - height),
    ]
    inside = [
        (
            min(max(round(x), 1), size[0] - width - 2),
            min(max(round(y), 1), size[1] - height - 2),
        )
        for x, y in corners
    ]
    return [(x, y, x + width, y + height) for x, y in inside]


def _clutter(place: BBox, frames: Sequence[BBox], taken: Sequence[BBox]) -> float:
    """Return the pixels that a plate would hide; those of another plate count four times."""
    return 4 * sum(_shared(place, other) for other in taken) + sum(
        _shared(place, frame) for frame in frames
    )


def _shared(one: BBox, other: BBox) -> float:
    """Return the area that two rectangles share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)
