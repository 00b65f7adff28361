"""Pairs of an evaluation as one picture: golden, truth, map, and what was said of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from adcopilot_edge.runtime.font import fit_text, text_font
from adcopilot_edge.runtime.heat import draw_heat
from adcopilot_edge.runtime.marks import SOURCE_COLOURS
from adcopilot_edge.runtime.thumbnails import outline, shrink
from adcopilot_edge.training.evaluation import PairFinding
from adcopilot_edge.types import BBox, LabelledPair

# All lengths are pixels of the finished picture.
_SIDE = 200
_GAP = 6
_CAPTION_HEIGHT = 60
_COLUMNS = 2
_PICTURES = 4

_BACKGROUND = "#f6f7f9"
_INK = "#1b1f24"
_FAINT = "#626c78"
_TRUTH = "#1a7f37"


@dataclass(frozen=True, slots=True)
class Shown:
    """A pair, what was found in it, and what was said; None where nothing was asked in words."""

    pair: LabelledPair
    finding: PairFinding
    word_boxes: tuple[BBox, ...] | None
    sentence: str | None


def draw_sheet(shown: Sequence[Shown]) -> Image.Image:
    """A grid of pairs, two in a row, each as four pictures under a caption.

    The golden; the test image with the true boxes in green; with the anomaly map; with what was
    found, blue for boxes in words and orange for boxes of the map.

    Raises ConfigError when this Pillow can't draw text.
    """
    width = _PICTURES * (_SIDE + _GAP) + _GAP
    height = _SIDE + _CAPTION_HEIGHT + 2 * _GAP
    rows = max(1, -(-len(shown) // _COLUMNS))
    sheet = Image.new("RGB", (_COLUMNS * width, rows * height), _BACKGROUND)
    for index, item in enumerate(shown):
        row, column = divmod(index, _COLUMNS)
        sheet.paste(_draw_cell(item, (width, height)), (column * width, row * height))
    return sheet


def _draw_cell(item: Shown, size: tuple[int, int]) -> Image.Image:
    cell = Image.new("RGB", size, _BACKGROUND)
    pair, finding = item.pair, item.finding
    truth = ", ".join(dict.fromkeys(pair.labels)) or ("bad" if pair.is_anomaly else "good")
    lines = [
        (pair.name, _INK),
        (f"is {truth}; words: {_word(finding.says)}, map: {_word(finding.map_says)}", _FAINT),
        (item.sentence or "", _FAINT),
    ]
    draw = ImageDraw.Draw(cell)
    for number, (line, colour) in enumerate(lines):
        fitted = fit_text(line, text_font(13), size[0] - 2 * _GAP)
        draw.text((_GAP, _GAP + 18 * number), fitted, fill=colour, font=text_font(13))
    golden, plain = shrink(pair.golden, _SIDE), shrink(pair.test, _SIDE)
    scale = plain.width / pair.test.shape[1]
    true, found = plain.copy(), plain.copy()
    outline(true, pair.boxes, scale, _TRUTH)
    outline(found, finding.map_boxes, scale, SOURCE_COLOURS["map"])
    outline(found, item.word_boxes or (), scale, SOURCE_COLOURS["text"])
    heat = plain if finding.anomaly_map is None else draw_heat(plain, finding.anomaly_map)
    for place, picture in enumerate((golden, true, heat, found)):
        cell.paste(picture, (_GAP + place * (_SIDE + _GAP), _CAPTION_HEIGHT + _GAP))
    return cell


def _word(says: bool | None) -> str:
    return "-" if says is None else "bad" if says else "good"
