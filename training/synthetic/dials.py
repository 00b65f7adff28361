"""Instrument dials, which no training draws: a scale with figures, zones, a hand, screws."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from adcopilot_edge.training.synthetic.assemblies import Assembly, plain_background
from adcopilot_edge.training.synthetic.canvas import Colour, Point, random_colour
from adcopilot_edge.training.synthetic.sprites import Sprite

_SWEEP = (math.radians(135.0), math.radians(405.0))
"""Where a scale begins and ends, clockwise from three o'clock."""


def draw_dial(rng: np.random.Generator, extent: int) -> Assembly:
    """One dial on its panel; the figures, the hand and the screws are parts."""
    is_dark = rng.random() < 0.4
    face = random_colour(rng, 10, 70) if is_dark else random_colour(rng, 195, 255)
    ink = random_colour(rng, 200, 255) if is_dark else random_colour(rng, 0, 70)
    panel = random_colour(rng, 30, 220)
    background = plain_background(rng, extent, face)
    middle: Point = (extent / 2 + float(rng.uniform(-9, 9)), extent / 2 + float(rng.uniform(-9, 9)))
    radius = extent * float(rng.uniform(0.36, 0.44))
    _frame(background, plain_background(rng, extent, panel), middle, radius)
    steps = int(rng.integers(4, 11))
    _scale(rng, background, middle, radius, steps, ink)
    sprites = _figures(rng, middle, radius * float(rng.uniform(0.55, 0.64)), steps, ink)
    sprites += _screws(rng, extent)
    sprites.append(_hand(rng, middle, radius, random_colour(rng, 0, 255)))
    return Assembly(background.filter(ImageFilter.GaussianBlur(0.5)), sprites)


def _frame(face: Image.Image, panel: Image.Image, middle: Point, radius: float) -> None:
    """Lay the panel around the round face, with a dark and a lit edge."""
    outside = Image.new("L", face.size, 255)
    ImageDraw.Draw(outside).circle(middle, radius, fill=0)
    face.paste(panel, (0, 0), outside)
    pen = ImageDraw.Draw(face)
    pen.circle(middle, radius + 3, outline=(40, 40, 42), width=4)
    pen.circle(middle, radius + 4, outline=(205, 205, 210), width=1)


def _scale(
    rng: np.random.Generator,
    face: Image.Image,
    middle: Point,
    radius: float,
    steps: int,
    ink: Colour,
) -> None:
    """Ticks of two lengths along the sweep, and a zone in another colour."""
    pen = ImageDraw.Draw(face)
    outer, parts = radius * 0.93, int(rng.choice((2, 4, 5, 10)))
    if rng.random() < 0.7:
        first = float(rng.uniform(150.0, 330.0))
        box = (middle[0] - outer, middle[1] - outer, middle[0] + outer, middle[1] + outer)
        zone = random_colour(rng, 30, 230)
        pen.arc(box, first, first + float(rng.uniform(20, 75)), fill=zone, width=6)
    for tick in range(steps * parts + 1):
        is_long = tick % parts == 0
        angle = _SWEEP[0] + (_SWEEP[1] - _SWEEP[0]) * tick / (steps * parts)
        inner = radius * (0.8 if is_long else 0.87)
        ends = [_at(middle, angle, reach) for reach in (inner, outer)]
        pen.line(ends, fill=ink, width=3 if is_long else 1)


def _figures(
    rng: np.random.Generator, middle: Point, reach: float, steps: int, ink: Colour
) -> list[Sprite]:
    """The numbers at the long ticks."""
    unit = int(rng.choice((1, 2, 5, 10, 20)))
    font = ImageFont.load_default(float(rng.uniform(10.0, 17.0)))
    sprites = []
    for step in range(steps + 1):
        angle = _SWEEP[0] + (_SWEEP[1] - _SWEEP[0]) * step / steps
        image = Image.new("RGBA", (34, 22), (*ink, 0))
        ImageDraw.Draw(image).text((17, 11), str(step * unit), fill=ink, font=font, anchor="mm")
        x, y = _at(middle, angle, reach)
        sprites.append(Sprite(image, round(x), round(y)))
    return sprites


def _screws(rng: np.random.Generator, extent: int) -> list[Sprite]:
    """A slotted screw in each corner of the panel, turned as it came."""
    radius, inset = int(rng.integers(6, 11)), round(extent * float(rng.uniform(0.1, 0.13)))
    tone = int(rng.integers(120, 215))
    screw = Image.new("RGBA", (2 * radius + 4, 2 * radius + 4))
    pen, centre = ImageDraw.Draw(screw), radius + 2
    pen.circle((centre, centre), radius, fill=(tone, tone, tone, 255), outline=(40, 40, 40, 255))
    pen.line((4, centre, 2 * radius, centre), fill=(35, 35, 35, 255), width=2)
    corners = [(x, y) for x in (inset, extent - inset) for y in (inset, extent - inset)]
    return [
        Sprite(screw.rotate(float(rng.uniform(0, 180)), Image.Resampling.BILINEAR), x, y)
        for x, y in corners
    ]


def _hand(rng: np.random.Generator, middle: Point, radius: float, colour: Colour) -> Sprite:
    """The hand at rest somewhere on the scale, with its hub."""
    side = int(2 * radius)
    image = Image.new("RGBA", (side, side))
    pen, centre = ImageDraw.Draw(image), (side / 2, side / 2)
    angle = float(rng.uniform(*_SWEEP))
    tip = _at(centre, angle, radius * 0.72)
    flank = [_at(centre, angle + turn, radius * 0.07) for turn in (math.pi / 2, -math.pi / 2)]
    pen.polygon([tip, *flank], fill=(*colour, 255))
    pen.circle(centre, radius * 0.1, fill=(50, 50, 52, 255))
    return Sprite(image, round(middle[0]), round(middle[1]))


def _at(middle: Point, angle: float, reach: float) -> Point:
    return middle[0] + reach * math.cos(angle), middle[1] + reach * math.sin(angle)
