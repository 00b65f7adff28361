"""Layouts of printed circuit boards: which pixels carry copper. It knows neither colour nor wear.

A layout is a mode ``L`` image, 255 where there is copper. Elements are drawn one over the other,
each with a clearance around it, so that separate nets stay apart as on a real board.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from adcopilot_edge.training.synthetic.canvas import Point, dilate, log_uniform, stroke

COPPER = 255
BARE = 0


class LayoutPen:
    """Draws copper elements with a clearance around each.

    unit: the scale of the board, 1.0 for a fine one; extent: the side of the square canvas in
    pixels.
    """

    def __init__(self, rng: np.random.Generator, extent: int) -> None:
        self.rng = rng
        self.extent = extent
        self.unit = log_uniform(rng, 0.9, 3.6)
        self.gap = rng.uniform(5.0, 10.0) * self.unit
        self.image = Image.new("L", (extent, extent), BARE)
        self.draw = ImageDraw.Draw(self.image)

    def line(self, points: Sequence[Point], width: float) -> None:
        """A trace along ``points``."""
        stroke(self.draw, points, width + 2 * self.gap, BARE)
        stroke(self.draw, points, width, COPPER)

    def polygon(self, points: Sequence[Point]) -> None:
        """A filled area."""
        outline = [*points, points[0]]
        self.draw.line(outline, fill=BARE, width=round(2 * self.gap), joint="curve")
        self.draw.polygon(list(points), fill=COPPER)

    def disc(self, centre: Point, radius: float, *, hole: float = 0.0) -> None:
        """A round pad, with a drilled hole when ``hole`` is positive (radius in pixels)."""
        x, y = centre
        for reach, fill in ((radius + self.gap, BARE), (radius, COPPER), (hole, BARE)):
            if reach >= 1.0:
                self.draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)

    def pad(self, centre: Point, half_width: float, half_height: float, *, corner: float) -> None:
        """A rectangular pad with rounded corners."""
        x, y = centre
        for grow, fill in ((self.gap, BARE), (0.0, COPPER)):
            w, h = half_width + grow, half_height + grow
            self.draw.rounded_rectangle((x - w, y - h, x + w, y + h), radius=corner, fill=fill)

    def spot(self) -> Point:
        """Any point of the canvas."""
        x, y = self.rng.uniform(0.0, self.extent, 2).tolist()
        return x, y


def draw_layout(rng: np.random.Generator, extent: int) -> Image.Image:
    """A random copper layout as a new (extent, extent) image of mode ``L``, 255 on copper.

    Three layouts in ten are inverted: a copper pour with bare channels in it.
    """
    pen = LayoutPen(rng, extent)
    for _ in range(int(rng.integers(1, 4))):
        element = _ELEMENTS[int(rng.choice(len(_ELEMENTS), p=_WEIGHTS))]
        element(pen)
    image = _drop_slivers(pen.image)
    if rng.random() < 0.3:
        image = image.point(_INVERSE)
    turn = int(rng.integers(0, 4))
    if turn:
        image = image.transpose(_TURNS[turn - 1])
    return image


def _drop_slivers(layout: Image.Image) -> Image.Image:
    """``layout`` without copper or gaps narrower than five pixels, which no board has."""
    copper = np.asarray(layout) > 127
    bare = ~dilate(dilate(~dilate(dilate(copper))))
    kept = dilate(dilate(~dilate(dilate(~bare))))
    return Image.fromarray(kept.astype(np.uint8) * np.uint8(COPPER))


def _octilinear(pen: LayoutPen, start: Point, heading: int, legs: int, leg: float) -> list[Point]:
    """A path of ``legs`` straight pieces that turns by 45 degrees at each corner."""
    points = [start]
    x, y = start
    for _ in range(legs):
        angle = heading * math.pi / 4
        length = leg * pen.rng.uniform(0.5, 1.5)
        x, y = x + math.cos(angle) * length, y + math.sin(angle) * length
        points.append((x, y))
        heading += int(pen.rng.choice((-1, 1)))
    return points


def _offset(points: Sequence[Point], distance: float) -> list[Point]:
    """``points`` moved sideways by ``distance``, with mitred corners."""
    path = np.asarray(points)
    steps = np.diff(path, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    normals = np.stack([-steps[:, 1], steps[:, 0]], axis=1)
    corners = np.concatenate([normals[:1], normals[:-1] + normals[1:], normals[-1:]])
    corners /= np.maximum(0.5, (corners**2).sum(axis=1, keepdims=True)) ** 0.5
    stretch = np.ones(len(path))
    stretch[1:-1] = 1.0 / np.maximum(0.5, (corners[1:-1] * normals[1:]).sum(axis=1))
    moved = path + corners * (stretch * distance)[:, None]
    return [(float(x), float(y)) for x, y in moved]


def _bus(pen: LayoutPen) -> None:
    """Parallel traces across the canvas, straight or with bends."""
    rng = pen.rng
    width = rng.uniform(5.0, 16.0) * pen.unit
    pitch = width + pen.gap * rng.uniform(1.0, 3.0)
    count = int(rng.integers(2, 9))
    start = (-30.0, rng.uniform(-0.2, 1.0) * pen.extent)
    if rng.random() < 0.4:
        end = (pen.extent + 30.0, start[1])
        base = [start, end]
        if rng.random() < 0.3:
            base[1] = (end[0], end[1] + rng.choice((-1.0, 1.0)) * pen.extent)
    else:
        base = _octilinear(pen, start, int(rng.integers(-1, 2)), 4, pen.extent * 0.55)
    for index in range(count):
        line_width = width * (rng.uniform(0.7, 2.0) if rng.random() < 0.15 else 1.0)
        pen.line(_offset(base, index * pitch), line_width)


def _traces(pen: LayoutPen) -> None:
    """Single traces that wander and end in pads."""
    rng = pen.rng
    width = rng.uniform(5.0, 12.0) * pen.unit
    for _ in range(int(rng.integers(2, 6))):
        heading = int(rng.integers(0, 4)) * 2
        path = _octilinear(pen, pen.spot(), heading, int(rng.integers(1, 5)), 45.0 * pen.unit)
        pen.line(path, width)
        for end in (path[0], path[-1]):
            if rng.random() < 0.7:
                radius = width * rng.uniform(0.8, 1.8)
                if rng.random() < 0.5:
                    hole = radius * rng.uniform(0.35, 0.65) if rng.random() < 0.6 else 0.0
                    pen.disc(end, radius, hole=hole)
                    _connect(pen, path, width, end, radius)
                else:
                    pen.pad(end, radius, radius * rng.uniform(0.7, 1.5), corner=rng.uniform(0, 4))
                    _connect(pen, path, width, end, radius)


def _connect(pen: LayoutPen, path: list[Point], width: float, end: Point, radius: float) -> None:
    """Redraw the last piece of ``path`` up to the rim of its pad, across the pad's clearance."""
    neighbour = path[1] if end == path[0] else path[-2]
    length = math.dist(end, neighbour) or 1.0
    share = min(1.0, radius * 0.8 / length)
    rim = (end[0] + (neighbour[0] - end[0]) * share, end[1] + (neighbour[1] - end[1]) * share)
    stroke(pen.draw, [rim, neighbour], width, COPPER)


def _pad_rows(pen: LayoutPen) -> None:
    """A row or a grid of equal pads, as under a connector or a chip."""
    rng = pen.rng
    half = rng.uniform(4.0, 12.0) * pen.unit
    tall = half * rng.uniform(0.8, 2.5)
    pitch = 2 * half + pen.gap * rng.uniform(1.0, 2.5)
    row_pitch = 2 * tall + pen.gap * rng.uniform(1.0, 6.0)
    is_round, has_hole = rng.random() < 0.5, rng.random() < 0.6
    left, top = pen.spot()
    corner = rng.uniform(0.0, half) if rng.random() < 0.5 else 0.0
    for row in range(int(rng.integers(1, 4))):
        for column in range(int(rng.integers(2, 9))):
            centre = (left + column * pitch, top + row * row_pitch)
            if is_round:
                pen.disc(centre, half, hole=half * 0.5 if has_hole else 0.0)
            else:
                pen.pad(centre, half, tall, corner=corner)


def _plates(pen: LayoutPen) -> None:
    """Large filled areas with cut or rounded corners."""
    rng = pen.rng
    for _ in range(int(rng.integers(1, 4))):
        centre = pen.spot()
        half_width, half_height = (rng.uniform(15.0, 70.0, 2) * pen.unit).tolist()
        cut = min(half_width, half_height) * rng.uniform(0.0, 0.9)
        shape = rng.random()
        if shape < 0.3:
            pen.pad(centre, half_width, half_height, corner=cut)
        elif shape < 0.45:
            pen.disc(centre, half_width * 1.4, hole=half_width * rng.uniform(0.0, 0.9))
        else:
            x, y = centre
            corners: list[Point] = []
            for sx, sy in ((1, -1), (1, 1), (-1, 1), (-1, -1)):
                chamfer = cut if rng.random() < 0.5 else 0.0
                first = (x + sx * half_width, y + sy * (half_height - chamfer))
                second = (x + sx * (half_width - chamfer), y + sy * half_height)
                corners += [first, second] if sx * sy > 0 else [second, first]
            pen.polygon(corners)


def _vias(pen: LayoutPen) -> None:
    """Small round pads strewn over the canvas."""
    rng = pen.rng
    radius = rng.uniform(4.0, 10.0) * pen.unit
    hole = radius * rng.uniform(0.3, 0.6) if rng.random() < 0.7 else 0.0
    for _ in range(int(rng.integers(2, 8))):
        pen.disc(pen.spot(), radius, hole=hole)


_ELEMENTS: tuple[Callable[[LayoutPen], None], ...] = (_bus, _traces, _pad_rows, _plates, _vias)
_WEIGHTS = (0.34, 0.22, 0.12, 0.24, 0.08)
_INVERSE = [255 - level for level in range(256)]
_TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.TRANSPOSE)
