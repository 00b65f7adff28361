"""Small pictures of images for sheets, and boxes around what they show. Knows no sheet."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from adcopilot_edge.types import BBox, ImageArray


def shrink(image: ImageArray, side: int) -> Image.Image:
    """The image (H, W, 3) uint8 RGB, as large as fits into a square of ``side`` pixels."""
    picture = Image.fromarray(image)
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def outline(picture: Image.Image, boxes: Sequence[BBox], scale: float, colour: str) -> None:
    """Draw ``boxes``, in pixels of the image, on its picture that is ``scale`` times as large."""
    draw = ImageDraw.Draw(picture)
    for box in boxes:
        x1, y1, x2, y2 = (value * scale for value in box)
        draw.rectangle((x1 - 1, y1 - 1, max(x2, x1), max(y2, y1)), outline=colour, width=2)
