"""Contact sheets of synthetic pairs, for people: golden, test, and test with its boxes."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from adcopilot_edge.training.synthetic.generator import generate_pair
from adcopilot_edge.training.synthetic.records import SyntheticPair

_GAP = 4
_CAPTION = 14
_BOX_COLOUR = (255, 40, 40)


def contact_sheet(
    seeds: Sequence[int], *, size: int = 224, columns: int = 3, surface: str | None = None
) -> Image.Image:
    """A grid of the pairs of ``seeds``, ``columns`` pairs a row, each as three images and a line.

    Args:
        seeds: one pair each, row by row.
        size: side of one image in pixels.
        columns: pairs a row.
        surface: one of ``SURFACES``, or any.
    """
    rows = -(-len(seeds) // columns)
    cell_width, cell_height = 3 * size + 3 * _GAP, size + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * cell_width, rows * cell_height), (250, 240, 200))
    for index, seed in enumerate(seeds):
        row, column = divmod(index, columns)
        cell = _draw_cell(generate_pair(seed, size=size, surface=surface))
        sheet.paste(cell, (column * cell_width, row * cell_height))
    return sheet


def _draw_cell(pair: SyntheticPair) -> Image.Image:
    """Golden, test and marked test side by side under a caption."""
    size = pair.golden.shape[1]
    cell = Image.new("RGB", (3 * size + 2 * _GAP, size + _CAPTION), (250, 240, 200))
    test = Image.fromarray(pair.test)
    for place, image in enumerate((Image.fromarray(pair.golden), test, _mark(pair, test))):
        cell.paste(image, (place * (size + _GAP), _CAPTION))
    words = ", ".join(defect.label for defect in pair.defects) or "good"
    ImageDraw.Draw(cell).text((2, 1), f"{pair.seed} {pair.surface}: {words}", fill=(0, 0, 0))
    return cell


def _mark(pair: SyntheticPair, test: Image.Image) -> Image.Image:
    """The test image with the box of each defect."""
    marked = test.copy()
    pen = ImageDraw.Draw(marked)
    for defect in pair.defects:
        x1, y1, x2, y2 = defect.bbox_2d
        pen.rectangle((x1, y1, x2 - 1, y2 - 1), outline=_BOX_COLOUR)
    return marked
