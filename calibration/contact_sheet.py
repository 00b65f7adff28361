"""Inspected pairs as one picture: golden, truth and what was said, side by side, for people."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from adcopilot_edge.calibration.inspect_run import Inspected
from adcopilot_edge.runtime.font import fit_text, text_font
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.runtime.marks import SOURCE_COLOURS
from adcopilot_edge.runtime.thumbnails import outline, shrink

# All lengths are pixels of the finished picture.
_SIDE = 200
_GAP = 6
_CAPTION_HEIGHT = 40
_COLUMNS = 2

_BACKGROUND = "#f6f7f9"
_INK = "#1b1f24"
_FAINT = "#626c78"
_TRUTH = "#1a7f37"


def draw_contact_sheet(inspected: Sequence[Inspected]) -> Image.Image:
    """A grid of pairs, two in a row, each as three pictures under a caption.

    The golden; the test image with the true boxes in green; the test image with what was said, blue
    for boxes in words and orange for the map.

    Raises:
        InputError: A picture can't be read.
        ConfigError: This Pillow can't draw text.
    """
    width, height = 3 * (_SIDE + _GAP) + _GAP, _SIDE + _CAPTION_HEIGHT + 2 * _GAP
    rows = max(1, -(-len(inspected) // _COLUMNS))
    sheet = Image.new("RGB", (_COLUMNS * width, rows * height), _BACKGROUND)
    for index, item in enumerate(inspected):
        row, column = divmod(index, _COLUMNS)
        sheet.paste(_draw_cell(item, (width, height)), (column * width, row * height))
    return sheet


def _draw_cell(item: Inspected, size: tuple[int, int]) -> Image.Image:
    cell = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(cell)
    room = size[0] - 2 * _GAP
    truth = ", ".join(dict.fromkeys(item.pair.labels)) or "good"
    said = ", ".join(item.types or ()) if item.verdict != "normal" else ""
    name = fit_text(item.pair.name, text_font(14), room)
    draw.text((_GAP, _GAP), name, fill=_INK, font=text_font(14))
    line = f"is {truth}; called {item.verdict} ({item.score:.2f}) {said}"
    draw.text(
        (_GAP, _GAP + 18), fit_text(line, text_font(13), room), fill=_FAINT, font=text_font(13)
    )
    golden, test = (open_image(path) for path in (item.pair.golden, item.pair.test))
    pictures = [shrink(image, _SIDE) for image in (golden, test, test)]
    scale = pictures[1].width / test.shape[1]
    outline(pictures[1], item.truth or (), scale, _TRUTH)
    outline(pictures[2], item.map_boxes or (), scale, SOURCE_COLOURS["map"])
    words = [bbox for bbox, _ in item.word_boxes or ()]
    outline(pictures[2], words, scale, SOURCE_COLOURS["text"])
    for place, picture in enumerate(pictures):
        cell.paste(picture, (_GAP + place * (_SIDE + _GAP), _CAPTION_HEIGHT + _GAP))
    return cell
