"""Charts as inline SVG: bars, a histogram, points and lines over an axis. Knows only numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#1259c3", "#c2410c", "#1a7f37", "#6b3fa0")  # told apart by every colour vision
WIDTH = 860
_INK, _FAINT, _GRID = "#1b1f24", "#626c78", "#d9dee4"
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 14, 40
_VALUE_WIDTH, _ROW = 120, 26
_LETTER_WIDTH = 7.2  # of an average letter at 12 px, a little more than most
_NUM_TICKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRow:
    """A bar to ``value``, a line on to ``reach``, and a mark at ``least`` where there is one."""

    name: str
    value: float
    reach: float
    least: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A series over x; ``is_joined`` draws a line through its points, else dots."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    is_joined: bool = True


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers from the last at or below ``low`` to the first at or above ``high``."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / (_NUM_TICKS - 1)
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(scale * factor for factor in (1, 2, 2.5, 5, 10) if scale * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 10) for place in range(first, last + 1)]


def bars(rows: Sequence[BarRow], unit: str) -> str:
    """Horizontal bars from zero, each with its figures behind it."""
    ticks = nice_ticks(0, max(row.reach for row in rows))
    left = min(16 + _LETTER_WIDTH * max(len(row.name) for row in rows), WIDTH / 2)
    right = WIDTH - _VALUE_WIDTH
    bottom = _TOP + len(rows) * _ROW

    def x_of(value: float) -> float:
        return left + (right - left) * value / ticks[-1]

    parts = []
    for tick in ticks:
        x = x_of(tick)
        parts.append(_line(x, _TOP, x, bottom, _GRID))
        parts.append(_text(x, bottom + 16, _number(tick), anchor="middle", colour=_FAINT))
    parts.append(_text((left + right) / 2, bottom + 34, unit, anchor="middle", colour=_FAINT))
    for place, row in enumerate(rows):
        y = _TOP + place * _ROW + _ROW / 2
        parts.append(_text(left - 8, y + 4, row.name, anchor="end"))
        parts.append(_rect(left, y - 8, max(x_of(row.value) - left, 1), 16, COLOURS[0]))
        parts.append(_line(x_of(row.value), y, x_of(row.reach), y, COLOURS[1], 2))
        parts.append(_line(x_of(row.reach), y - 5, x_of(row.reach), y + 5, COLOURS[1], 2))
        if row.least is not None:
            parts.append(_line(x_of(row.least), y - 10, x_of(row.least), y + 10, COLOURS[2], 3))
        figures = f"{_number(row.value)} / {_number(row.reach)}"
        parts.append(_text(x_of(row.reach) + 8, y + 4, figures))
    return _svg(bottom + _BOTTOM, parts)


def histogram(values: Sequence[float], marks: dict[str, float], unit: str) -> str:
    """How often values of each size occur, with upright lines at ``marks``.

    Classes by the square root of the count, at most 40; all are of equal width.
    """
    shown = [*values, *marks.values()]
    ticks = nice_ticks(min(shown), max(shown))
    low, high = ticks[0], ticks[-1]
    count = min(40, max(5, math.ceil(math.sqrt(len(values)))))
    lowest, width = min(values), (max(values) - min(values)) / count or 1.0
    heights = [0] * count
    for value in values:
        heights[min(int((value - lowest) / width), count - 1)] += 1
    frame = _Frame((low, high), (0, nice_ticks(0, max(heights))[-1]))
    parts = frame.axes(ticks, nice_ticks(0, max(heights)), unit, "inspections")
    for place, height in enumerate(heights):
        start, end = frame.x(lowest + place * width), frame.x(lowest + (place + 1) * width)
        top = frame.y(height)
        if height:
            parts.append(_rect(start, top, max(end - start - 1, 1), frame.y(0) - top, COLOURS[0]))
    # Labels that lie close together take turns in height.
    for place, (name, value) in enumerate(sorted(marks.items(), key=lambda item: item[1])):
        x = frame.x(value)
        colour = COLOURS[3] if name == "takt" else COLOURS[1]
        parts.append(_line(x, _TOP, x, frame.y(0), colour, 2))
        near_end = x > WIDTH - 140
        label = f"{name} {_number(value)}"
        anchor, shift = ("end", -5) if near_end else ("start", 5)
        parts.append(
            _text(x + shift, _TOP + 12 + 15 * (place % 4), label, anchor=anchor, halo=True)
        )
    return _svg(frame.height, parts)


def lines(series: Sequence[Line], x_unit: str, y_unit: str, *, from_zero: bool = True) -> str:
    """Series over one axis, at most four, named above."""
    xs = [x for line in series for x in line.xs]
    ys = [y for line in series for y in line.ys]
    x_ticks = nice_ticks(min(xs), max(xs))
    y_ticks = nice_ticks(0 if from_zero else min(ys), max(ys))
    frame = _Frame((x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1]))
    parts = frame.axes(x_ticks, y_ticks, x_unit, y_unit)
    for line, colour in zip(series, COLOURS, strict=False):
        points = [(frame.x(x), frame.y(y)) for x, y in zip(line.xs, line.ys, strict=True)]
        if line.is_joined:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            )
        if not line.is_joined or len(points) <= 30:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points
            ]
    x = float(_LEFT)
    legend = []
    for line, colour in zip(series, COLOURS, strict=False):
        legend.append(_rect(x, 2, 12, 12, colour))
        legend.append(_text(x + 17, 12, line.name))
        x += 17 + _LETTER_WIDTH * len(line.name) + 24
    return _svg(
        frame.height + 22, [*legend, f'<g transform="translate(0,22)">{"".join(parts)}</g>']
    )


class _Frame:
    """From values to places in a chart with an axis on the left and one below."""

    height = 260

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self._x_range, self._y_range = x_range, y_range

    def x(self, value: float) -> float:
        low, high = self._x_range
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self._y_range
        bottom = self.height - _BOTTOM
        return bottom - (bottom - _TOP) * (value - low) / (high - low)

    def axes(
        self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_unit: str, y_unit: str
    ) -> list[str]:
        parts = []
        bottom, right = self.height - _BOTTOM, WIDTH - _RIGHT
        for tick in x_ticks:
            x = self.x(tick)
            parts.append(_line(x, _TOP, x, bottom, _GRID))
            parts.append(_text(x, bottom + 16, _number(tick), anchor="middle", colour=_FAINT))
        for tick in y_ticks:
            y = self.y(tick)
            parts.append(_line(_LEFT, y, right, y, _GRID))
            parts.append(_text(_LEFT - 6, y + 4, _number(tick), anchor="end", colour=_FAINT))
        middle = (_LEFT + right) / 2
        parts.append(_text(middle, bottom + 34, x_unit, anchor="middle", colour=_FAINT))
        y = (_TOP + bottom) / 2
        parts.append(
            f'<g transform="translate(14,{y:.1f}) rotate(-90)">'
            f"{_text(0, 0, y_unit, anchor='middle', colour=_FAINT)}</g>"
        )
        return parts


def _svg(height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" '
        f'role="img" font-size="12">{"".join(parts)}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    colour: str = _INK,
    halo: bool = False,
) -> str:
    """Words; a halo keeps them legible over bars."""
    style = ' paint-order="stroke" stroke="#fff" stroke-width="3"' if halo else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{style}>'
        f"{escape(words)}</text>"
    )


def _number(value: float) -> str:
    """Three digits or more, as people write them."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) < 1:
        return f"{value:.2g}"
    return f"{value:.3g}"
