"""The six defects of a copper layout, each at the kind of place where etching makes it.

Places are found in the layout itself: a point on an edge, the normal there, and the width of the
copper and of the gap along that normal. Nothing here knows how the layout was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from adcopilot_edge.training.synthetic.boards import BARE, COPPER
from adcopilot_edge.training.synthetic.canvas import (
    MARGIN,
    Point,
    blob,
    log_uniform,
    mark,
    stroke,
    wiggle,
)
from adcopilot_edge.types import MaskArray

_REACH = 90
"""How far a probe looks along a normal, in pixels."""
_INSET = MARGIN + 9
"""Distance of a defect's centre from the border of the canvas."""


@dataclass(frozen=True, slots=True)
class EdgeSite:
    """A point on a copper edge.

    x, y: pixels of the canvas. normal: unit vector into the copper. copper, gap: run lengths in
    pixels along the normal into the copper and away from it; ``_REACH`` when longer.
    """

    x: float
    y: float
    normal: Point
    copper: int
    gap: int

    def at(self, depth: float) -> Point:
        """The point ``depth`` pixels inside the copper (negative: outside)."""
        return self.x + self.normal[0] * depth, self.y + self.normal[1] * depth


class BoardProbe:
    """Finds places for defects in a copper mask (H, W)."""

    def __init__(self, rng: np.random.Generator, copper: MaskArray) -> None:
        self.rng = rng
        self.copper = copper
        self.inner = copper[_INSET:-_INSET, _INSET:-_INSET]
        vertical = self.inner[:, 1:] != self.inner[:, :-1]
        horizontal = self.inner[1:] != self.inner[:-1]
        self.edges = np.concatenate([np.argwhere(vertical), np.argwhere(horizontal)]) + np.int64(
            _INSET
        )

    def edge(self) -> EdgeSite | None:
        """A random point of the copper edges, or None when there is no usable one."""
        if len(self.edges) == 0:
            return None
        y, x = (int(value) for value in self.edges[self.rng.integers(len(self.edges))])
        patch = self.copper[y - 5 : y + 6, x - 5 : x + 6]
        dx, dy = float((patch * _OFFSET_X).sum()), float((patch * _OFFSET_Y).sum())
        length = math.hypot(dx, dy)
        if length < 25.0:
            return None
        normal = (dx / length, dy / length)
        inward, outward = self._run(x, y, normal, True), self._run(x, y, normal, False)
        return EdgeSite(float(x), float(y), normal, inward, outward)

    def _run(self, x: int, y: int, normal: Point, is_copper: bool) -> int:
        sign = 1.0 if is_copper else -1.0
        steps = np.arange(2, _REACH) * sign
        limit = self.copper.shape[0] - 1
        xs = np.clip(np.rint(x + normal[0] * steps), 0, limit).astype(np.intp)
        ys = np.clip(np.rint(y + normal[1] * steps), 0, limit).astype(np.intp)
        other = self.copper[ys, xs] != is_copper
        return int(other.argmax()) + 2 if other.any() else _REACH

    def area(self, radius: float, is_copper: bool) -> Point | None:
        """A point with nothing but copper (or nothing but bare board) within ``radius``."""
        reach = math.ceil(radius) + 3
        side = self.copper.shape[0]
        for _ in range(12):
            x, y = self.rng.integers(_INSET, side - _INSET, 2).tolist()
            patch = self.copper[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
            if (patch == is_copper).all():
                return float(x), float(y)
        return None


def _cut(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, ends: tuple[Point, Point], fill: int
) -> None:
    """Draw a band between two points: a wandering line, a ragged spot or a scribble."""
    (x1, y1), (x2, y2) = ends
    length = math.hypot(x2 - x1, y2 - y1)
    slant = rng.normal(0.0, 0.25) * length
    start = (x1 - (y2 - y1) / length * slant, y1 + (x2 - x1) / length * slant)
    line = wiggle(rng, start, (x2, y2), amplitude=rng.uniform(0.0, 3.5))
    stroke(draw, line, log_uniform(rng, 3.0, 11.0), fill)
    if length < 20 and rng.random() < 0.3:
        centre = ((x1 + x2) / 2, (y1 + y2) / 2)
        draw.polygon(blob(rng, centre, max(4.0, length * 0.5)), fill=fill)
    elif rng.random() < 0.2:
        shift = rng.uniform(3.0, 6.0)
        moved = [(x + shift, y + rng.normal(0.0, 1.0)) for x, y in line]
        stroke(draw, moved, rng.uniform(2.0, 3.0), fill)


def _open(probe: BoardProbe, draw: ImageDraw.ImageDraw) -> bool:
    site = probe.edge()
    if site is None or not 3 <= site.copper <= 70:
        return False
    _cut(probe.rng, draw, (site.at(-2.0), site.at(site.copper + 1.0)), BARE)
    return True


def _short(probe: BoardProbe, draw: ImageDraw.ImageDraw) -> bool:
    site = probe.edge()
    if site is None or not 4 <= site.gap <= 70:
        return False
    _cut(probe.rng, draw, (site.at(2.0), site.at(-site.gap - 1.0)), COPPER)
    return True


def _tongue(
    probe: BoardProbe, draw: ImageDraw.ImageDraw, site: EdgeSite, room: int, sign: float
) -> bool:
    """Draw a bay (``sign`` 1: bare into copper) or a spur (-1: copper into the gap) on an edge."""
    rng = probe.rng
    depth = min(log_uniform(rng, 6.0, 24.0), room - 3.0)
    if depth < 3.0:
        return False
    fill = BARE if sign > 0 else COPPER
    shape = rng.random()
    if shape < 0.45:
        radius = max(2.8, depth * rng.uniform(0.5, 0.8))
        draw.polygon(blob(rng, site.at(sign * (depth - radius)), radius), fill=fill)
    elif shape < 0.6:
        line = wiggle(rng, site.at(-sign), site.at(sign * (depth - 2)), amplitude=1.5, count=4)
        stroke(draw, line, rng.uniform(3.0, 8.0), fill)
    elif shape < 0.85:
        tip_x, tip_y = site.at(sign * depth)
        sway = rng.normal(0.0, depth * 0.4)
        tip = (tip_x - site.normal[1] * sway, tip_y + site.normal[0] * sway)
        line = wiggle(rng, site.at(-sign), tip, amplitude=2.0, count=5)
        stroke(draw, line, rng.uniform(2.5, 6.0), fill)
        draw.polygon(blob(rng, site.at(0.0), rng.uniform(2.5, 6.0)), fill=fill)
    else:
        for _ in range(4):
            x, y = site.at(sign * rng.uniform(0.0, depth - 2.0))
            spot = (x + rng.normal(0.0, 2.5), y + rng.normal(0.0, 2.5))
            draw.polygon(blob(rng, spot, rng.uniform(2.5, 5.0)), fill=fill)
    return True


def _mouse_bite(probe: BoardProbe, draw: ImageDraw.ImageDraw) -> bool:
    site = probe.edge()
    return site is not None and _tongue(probe, draw, site, site.copper, 1.0)


def _spur(probe: BoardProbe, draw: ImageDraw.ImageDraw) -> bool:
    site = probe.edge()
    return site is not None and _tongue(probe, draw, site, site.gap, -1.0)


def _island(probe: BoardProbe, draw: ImageDraw.ImageDraw, is_copper: bool) -> bool:
    radius = log_uniform(probe.rng, 5.0, 17.0)
    centre = probe.area(radius, is_copper)
    if centre is None:
        return False
    mark(probe.rng, draw, centre, radius, BARE if is_copper else COPPER)
    return True


def _spurious_copper(probe: BoardProbe, draw: ImageDraw.ImageDraw) -> bool:
    return _island(probe, draw, is_copper=False)


def _pin_hole(probe: BoardProbe, draw: ImageDraw.ImageDraw) -> bool:
    return _island(probe, draw, is_copper=True)


def draw_board_defect(
    rng: np.random.Generator, layout: Image.Image, label: str
) -> Image.Image | None:
    """``layout`` with one defect of the kind ``label`` as a new image, or None if there is no room.

    The caller checks that enough pixels changed and tries again or takes another kind.
    """
    probe = BoardProbe(rng, np.asarray(layout) > 127)
    for _ in range(10):
        damaged = layout.copy()
        if _DRAW[label](probe, ImageDraw.Draw(damaged)):
            return damaged
    return None


_OFFSET_Y, _OFFSET_X = np.mgrid[-5:6, -5:6]
_DRAW: dict[str, Callable[[BoardProbe, ImageDraw.ImageDraw], bool]] = {
    "open": _open,
    "short": _short,
    "mouse bite": _mouse_bite,
    "spur": _spur,
    "spurious copper": _spurious_copper,
    "pin hole": _pin_hole,
}
