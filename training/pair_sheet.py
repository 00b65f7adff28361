"""Training pairs as one picture, for people: golden, test, and test with its boxes and mask."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

from adcopilot_edge.types import ImageArray, LabelledPair

_GAP = 4
_CAPTION = 14
_PAPER = (250, 240, 200)
_INK = (0, 0, 0)
_BOX_COLOUR = (255, 40, 40)


def draw_pairs(pairs: Iterable[LabelledPair], *, columns: int = 3) -> Image.Image:
    """A grid of pairs of one size, ``columns`` pairs a row, each as three images and a line.

    The edge of the mask is drawn where a pair has one; a bad part of unknown place says so.
    """
    cells = [_draw_cell(pair) for pair in pairs]
    width, height = cells[0].width + _GAP, cells[0].height + _GAP
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), _PAPER)
    for index, cell in enumerate(cells):
        row, column = divmod(index, columns)
        sheet.paste(cell, (column * width, row * height))
    return sheet


def _draw_cell(pair: LabelledPair) -> Image.Image:
    """Golden, test and marked test side by side under a caption."""
    height, width = pair.golden.shape[:2]
    cell = Image.new("RGB", (3 * width + 2 * _GAP, height + _CAPTION), _PAPER)
    for place, image in enumerate((pair.golden, pair.test, _mark(pair))):
        cell.paste(Image.fromarray(image), (place * (width + _GAP), _CAPTION))
    words = ", ".join(pair.labels) or ("bad, place unknown" if pair.is_unplaced else "good")
    caption = f"{pair.name} {pair.category}: {words}".encode("ascii", "replace").decode()
    ImageDraw.Draw(cell).text((2, 1), caption, fill=_INK)
    return cell


def _mark(pair: LabelledPair) -> ImageArray:
    """The test image with the edge of its mask and the box of each defect."""
    marked = pair.test.copy()
    if pair.mask is not None:
        mask = pair.mask
        inner = mask.copy()
        inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        marked[mask & ~inner] = (0, 220, 255)
    picture = Image.fromarray(marked)
    pen = ImageDraw.Draw(picture)
    for x1, y1, x2, y2 in pair.boxes:
        pen.rectangle((x1, y1, x2 - 1, y2 - 1), outline=_BOX_COLOUR)
    return np.asarray(picture)
