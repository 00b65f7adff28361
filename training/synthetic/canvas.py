"""Drawing helpers that every surface shares: noise fields, irregular outlines, marks, fonts.

It knows shapes only, neither surfaces nor defects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from adcopilot_edge.types import FloatArray, ImageArray, MaskArray

MARGIN = 10
"""Pixels drawn around the visible image, so that a shifted or rotated view has no empty border."""

Point = tuple[float, float]
Colour = tuple[int, int, int]


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> FloatArray:
    """(H, W) float32 noise of about unit deviation whose features are ``cell`` pixels wide."""
    rows, columns = max(3, round(height / cell) + 2), max(3, round(width / cell) + 2)
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    image = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image) * np.float32(1.3)


def dilate(mask: MaskArray) -> MaskArray:
    """``mask`` (H, W) grown by one pixel in all eight directions, as a new array."""
    grown = mask.copy()
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    rows = grown.copy()
    grown[1:] |= rows[:-1]
    grown[:-1] |= rows[1:]
    return grown


def to_image(pixels: FloatArray) -> ImageArray:
    """``pixels`` as uint8, clipped to 0..255; any shape."""
    return np.clip(pixels, 0.0, 255.0).astype(np.uint8)


def random_colour(rng: np.random.Generator, low: int, high: int) -> Colour:
    """An RGB colour with channels between ``low`` and ``high``; most are rather grey."""
    channels = rng.uniform(low, high, 3)
    greyness = rng.uniform(0.0, 0.9)
    red, green, blue = (channels + (channels.mean() - channels) * greyness).tolist()
    return round(red), round(green), round(blue)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between ``low`` and ``high``, as likely in each octave."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def blob(
    rng: np.random.Generator, centre: Point, radius: float, *, roughness: float = 0.3
) -> list[Point]:
    """The outline of an irregular spot, as points of a closed polygon."""
    count = 16
    waves = np.zeros(count)
    angles = np.linspace(0.0, 2.0 * math.pi, count, endpoint=False)
    for order in (2, 3, 5):
        waves += rng.uniform(0.0, roughness) * np.sin(order * angles + rng.uniform(0.0, 6.3))
    stretch, turn = rng.uniform(0.6, 1.0), rng.uniform(0.0, math.pi)
    reach = radius * np.clip(1.0 + waves, 0.35, 1.7)
    along, across = reach * np.cos(angles), reach * np.sin(angles) * stretch
    xs = centre[0] + along * math.cos(turn) - across * math.sin(turn)
    ys = centre[1] + along * math.sin(turn) + across * math.cos(turn)
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def wiggle(
    rng: np.random.Generator, start: Point, end: Point, *, amplitude: float, count: int = 7
) -> list[Point]:
    """A wandering line from ``start`` to ``end`` that leaves the chord by ``amplitude``."""
    share = np.linspace(0.0, 1.0, count)
    sway = np.cumsum(rng.normal(0.0, 1.0, count))
    sway -= sway[0] + (sway[-1] - sway[0]) * share
    sway *= amplitude / max(1.0, float(np.abs(sway).max()))
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy) or 1.0
    xs = start[0] + dx * share - dy / length * sway
    ys = start[1] + dy * share + dx / length * sway
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def stroke(draw: ImageDraw.ImageDraw, points: Sequence[Point], width: float, fill: int) -> None:
    """Draw ``points`` as a line of ``width`` pixels with round joints and ends."""
    draw.line(list(points), fill=fill, width=max(1, round(width)), joint="curve")
    if width >= 3:
        for x, y in (points[0], points[-1]):
            disc(draw, (x, y), width / 2, fill)


def disc(draw: ImageDraw.ImageDraw, centre: Point, radius: float, fill: int) -> None:
    """Draw a filled circle."""
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def mark(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, centre: Point, radius: float, fill: int
) -> None:
    """Draw an irregular mark within ``radius`` pixels of ``centre``: spot, stroke or scribble."""
    kind = rng.integers(0, 6)
    x, y = centre
    turn = rng.uniform(0.0, 2.0 * math.pi)
    dx, dy = math.cos(turn) * radius, math.sin(turn) * radius
    if kind <= 1:
        draw.polygon(blob(rng, centre, radius * 0.8), fill=fill)
    elif kind == 2:
        disc(draw, centre, radius * 0.7, fill)
    elif kind == 3:
        line = wiggle(rng, (x - dx, y - dy), (x + dx, y + dy), amplitude=radius * 0.6)
        stroke(draw, line, rng.uniform(2.5, 2.0 + radius * 0.5), fill)
    elif kind == 4:
        angles = turn + np.cumsum(rng.uniform(0.7, 2.6, 6))
        reach = rng.uniform(0.3, 1.0, 6) * radius
        corners = [
            (x + r * math.cos(a), y + r * math.sin(a))
            for r, a in zip(reach.tolist(), angles.tolist(), strict=True)
        ]
        stroke(draw, corners, rng.uniform(2.0, 3.5), fill)
    else:
        for _ in range(int(rng.integers(3, 6))):
            spot = (x + rng.normal(0, radius * 0.35), y + rng.normal(0, radius * 0.35))
            draw.polygon(blob(rng, spot, radius * rng.uniform(0.25, 0.5)), fill=fill)
