"""Percentages as horizontal bars, in the colours and the typeface of the other pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from adcopilot_edge.runtime.font import fit_text, text_font

# All lengths are pixels of the finished picture.
_WIDTH = 900
_MARGIN = 24
_NAME_WIDTH = 220
_VALUE_WIDTH = 70
_BAR_HEIGHT = 18
_BAR_GAP = 4
_GROUP_GAP = 16
_TITLE_HEIGHT = 56
_LEGEND_HEIGHT = 34

_BACKGROUND = "#f6f7f9"
_INK = "#1b1f24"
_FAINT = "#626c78"
_GRID = "#c9cfd6"
_COLOURS = ("#1259c3", "#c2410c", "#1a7f37", "#6b3fa0")  # told apart by every colour vision


def draw_bars(
    title: str, groups: Sequence[str], series: Mapping[str, Mapping[str, float | None]]
) -> Image.Image:
    """A picture with a group of bars for each of ``groups``, one bar a series.

    Args:
        title: One line above the bars.
        groups: Names, from top to bottom.
        series: By name, at most four: a percentage for each group; where it is missing, None or
            NaN there is no bar but a dash.

    Raises:
        ConfigError: This Pillow can't draw text.
    """
    group_height = len(series) * (_BAR_HEIGHT + _BAR_GAP) + _GROUP_GAP
    height = _TITLE_HEIGHT + len(groups) * group_height + _LEGEND_HEIGHT + _MARGIN
    chart = Image.new("RGB", (_WIDTH, height), _BACKGROUND)
    draw = ImageDraw.Draw(chart)
    draw.text(
        (_MARGIN, _TITLE_HEIGHT // 2),
        fit_text(title, text_font(22), _WIDTH - 2 * _MARGIN),
        fill=_INK,
        font=text_font(22),
        anchor="lm",
    )
    left, right = _MARGIN + _NAME_WIDTH, _WIDTH - _MARGIN - _VALUE_WIDTH
    bottom = _TITLE_HEIGHT + len(groups) * group_height
    _draw_grid(draw, left, right, bottom)
    coloured = list(zip(series.items(), _COLOURS, strict=False))
    for index, group in enumerate(groups):
        top = _TITLE_HEIGHT + index * group_height
        middle = top + (group_height - _GROUP_GAP) // 2
        name = fit_text(group, text_font(16), _NAME_WIDTH - 12)
        draw.text((left - 12, middle), name, fill=_INK, font=text_font(16), anchor="rm")
        for place, ((_, values), colour) in enumerate(coloured):
            y = top + place * (_BAR_HEIGHT + _BAR_GAP)
            _draw_bar(draw, values.get(group), (left, y, right), colour)
    _draw_legend(draw, [(name, colour) for (name, _), colour in coloured], left, bottom)
    return chart


def _draw_grid(draw: ImageDraw.ImageDraw, left: int, right: int, bottom: int) -> None:
    """Lines at every quarter, numbered below."""
    for percent in (0, 25, 50, 75, 100):
        x = left + (right - left) * percent // 100
        draw.line((x, _TITLE_HEIGHT - 6, x, bottom - 6), fill=_GRID)
        draw.text((x, bottom + 6), str(percent), fill=_FAINT, font=text_font(13), anchor="mm")


def _draw_bar(
    draw: ImageDraw.ImageDraw, value: float | None, place: tuple[int, int, int], colour: str
) -> None:
    """One bar with its figure behind it."""
    left, y, right = place
    middle = y + _BAR_HEIGHT // 2
    if value is None or math.isnan(value):
        draw.text((left + 6, middle), "-", fill=_FAINT, font=text_font(14), anchor="lm")
        return
    end = left + round((right - left) * min(max(value, 0), 100) / 100)
    if end > left:
        draw.rectangle((left, y, end, y + _BAR_HEIGHT - 1), fill=colour)
    draw.text((end + 6, middle), f"{value:.1f}", fill=_INK, font=text_font(14), anchor="lm")


def _draw_legend(
    draw: ImageDraw.ImageDraw, entries: Sequence[tuple[str, str]], x: float, bottom: int
) -> None:
    """The names of the series beside their colours."""
    y = bottom + _LEGEND_HEIGHT
    for name, colour in entries:
        draw.rectangle((x, y - 7, x + 14, y + 7), fill=colour)
        draw.text((x + 22, y), name, fill=_INK, font=text_font(14), anchor="lm")
        x += 22 + text_font(14).getlength(name) + 28
