"""Products made of parts: stamped sheet metal, moulded pieces in a tray, printed labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from adcopilot_edge.training.synthetic.canvas import (
    Colour,
    random_colour,
    smooth_noise,
    to_image,
)
from adcopilot_edge.training.synthetic.sprites import Sprite

Fill = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Assembly:
    """A background (mode ``RGB``) and the parts on it."""

    background: Image.Image
    sprites: list[Sprite]


def plain_background(rng: np.random.Generator, extent: int, colour: Colour) -> Image.Image:
    """A surface of one colour with faint clouds and grain."""
    clouds = smooth_noise(rng, extent, extent, 60.0) * np.float32(rng.uniform(0.0, 7.0))
    clouds += smooth_noise(rng, extent, extent, 2.5) * np.float32(rng.uniform(0.0, 5.0))
    base = np.asarray(colour, dtype=np.float32)
    return Image.fromarray(to_image(base + clouds[:, :, None]))


def draw_stamped(rng: np.random.Generator, extent: int) -> Assembly:
    """A metal sheet with holes, slots and ribs."""
    sheet = int(rng.integers(110, 215))
    background = plain_background(rng, extent, (sheet, sheet, min(255, sheet + 6)))
    if rng.random() < 0.6:
        _cut_outline(rng, background, random_colour(rng, 10, 70))
    size = rng.uniform(14.0, 44.0)
    hole = int(rng.integers(15, 70))
    kinds = rng.integers(0, 4, 2)
    sprites = []
    for x, y in _places(rng, extent, size):
        kind = int(kinds[int(rng.integers(2))])
        sprites.append(Sprite(_stamp(rng, size, kind, hole, sheet), x, y))
    return Assembly(background, sprites)


def draw_moulded(rng: np.random.Generator, extent: int) -> Assembly:
    """Round or polygonal pieces, shaded as if lit from one side, on a plain background."""
    background = plain_background(rng, extent, random_colour(rng, 15, 230))
    body = random_colour(rng, 40, 245)
    size = float(rng.uniform(26.0, 150.0))
    corners = int(rng.choice((0, 0, 0, 4, 6, 8)))
    light = rng.uniform(0.0, 2 * math.pi)
    piece = _moulded_piece(rng, size, body, corners, light)
    sprites = []
    for x, y in _places(rng, extent, size):
        turned = piece.rotate(float(rng.uniform(-8, 8)), Image.Resampling.BILINEAR)
        sprites.append(Sprite(turned, x, y))
    return Assembly(background, sprites)


def draw_printed(rng: np.random.Generator, extent: int) -> Assembly:
    """A label: lines of glyph-like marks, bars and frames."""
    paper = random_colour(rng, 190, 255)
    ink = random_colour(rng, 0, 110)
    if rng.random() < 0.25:
        paper, ink = ink, paper
    background = plain_background(rng, extent, paper)
    pen = ImageDraw.Draw(background)
    if rng.random() < 0.5:
        inset = int(rng.integers(12, 40))
        box = (inset, inset, extent - inset, extent - inset)
        pen.rounded_rectangle(box, radius=int(rng.integers(0, 14)), outline=ink, width=3)
    sprites: list[Sprite] = []
    y = float(rng.uniform(16, 50))
    while y < extent - 20:
        height = float(rng.uniform(10.0, 36.0))
        if rng.random() < 0.2:
            _barcode(rng, pen, extent, y, height, ink)
        else:
            sprites += _glyph_line(rng, extent, y + height / 2, height, ink)
        y += height * rng.uniform(1.25, 1.9)
    return Assembly(background, sprites)


def _places(rng: np.random.Generator, extent: int, size: float) -> list[tuple[int, int]]:
    """Centres for parts of ``size`` pixels: a grid, or a few free places that don't touch."""
    if rng.random() < 0.6:
        room = extent * 0.84
        pitch = max(size * rng.uniform(1.15, 1.9), room / 6)
        count = max(1, int(room // pitch))
        first = (extent - (count - 1) * pitch) / 2
        steps = [round(first + index * pitch) for index in range(count)]
        return [(x, y) for y in steps for x in steps]
    places: list[tuple[int, int]] = []
    inset = int(min(size * 0.5 + extent * 0.08, extent / 2 - 1))
    for x, y in rng.integers(inset, extent - inset, (14, 2)).tolist():
        if all(math.hypot(x - a, y - b) > size * 1.15 for a, b in places):
            places.append((x, y))
    return places


def _cut_outline(rng: np.random.Generator, background: Image.Image, outside: Colour) -> None:
    """Leave only a rounded sheet of the background, ``outside`` around it."""
    extent = background.size[0]
    keep = Image.new("L", background.size, 255)
    pen = ImageDraw.Draw(keep)
    left, top, right, bottom = rng.uniform(0.03, 0.075, 4) * extent
    box = (float(left), float(top), float(extent - right), float(extent - bottom))
    pen.rounded_rectangle(box, radius=float(rng.uniform(0, 40)), fill=0)
    background.paste(outside, (0, 0), keep)


def _stamp(rng: np.random.Generator, size: float, kind: int, hole: int, sheet: int) -> Image.Image:
    """A hole, slot, cross or rib with a lit rim, mode ``RGBA``."""
    side = int(size) + 6
    image = Image.new("RGBA", (side, side))
    pen = ImageDraw.Draw(image)
    low, high = 3.0, side - 3.0
    dark: Fill = (hole, hole, hole + 4, 255)
    lit: Fill = (min(255, sheet + 35), min(255, sheet + 35), min(255, sheet + 35), 255)
    shape = (low, low, high, high)
    if kind == 1:
        third = size * 0.28
        shape = (low, low + third, high, high - third)
    for grow, fill in ((1.5, lit), (0.0, dark)):
        a, b, c, d = shape
        box = (a - grow, b - grow, c + grow, d + grow)
        if kind == 0:
            pen.ellipse(box, fill=fill)
        elif kind == 2:
            pen.rectangle(box, fill=fill)
        else:
            pen.rounded_rectangle(box, radius=(d - b) / 2 if kind == 1 else 4, fill=fill)
    if kind == 3:
        inner = size * 0.25
        pen.ellipse((low + inner, low + inner, high - inner, high - inner), fill=lit)
    return image.filter(ImageFilter.GaussianBlur(0.5))


def _moulded_piece(
    rng: np.random.Generator, size: float, body: Colour, corners: int, light: float
) -> Image.Image:
    """One shaded piece, mode ``RGBA``; ``corners`` 0 makes it round."""
    side = int(size) + 4
    middle = side / 2
    shape = Image.new("L", (side, side))
    pen = ImageDraw.Draw(shape)
    if corners:
        pen.regular_polygon((middle, middle, size / 2), corners, fill=255)
    else:
        pen.ellipse((2, 2, side - 2, side - 2), fill=255)
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    across, down = (columns - middle) / (size / 2), (rows - middle) / (size / 2)
    radius = np.sqrt(across**2 + down**2)
    shade = (across * math.cos(light) + down * math.sin(light)) * np.float32(rng.uniform(10, 45))
    shade -= np.clip(radius - np.float32(0.8), 0, None) * np.float32(rng.uniform(60, 200))
    for _ in range(int(rng.integers(0, 3))):
        ring = np.float32(rng.uniform(0.25, 0.8))
        depth = np.float32(rng.uniform(-50, 50))
        shade += depth * np.exp(-(((radius - ring) * size / 5) ** 2))
    if rng.random() < 0.4:
        shade -= (radius < rng.uniform(0.15, 0.4)) * np.float32(rng.uniform(40, 110))
    pixels = to_image(np.asarray(body, dtype=np.float32) + shade[:, :, None])
    image = Image.fromarray(pixels).convert("RGBA")
    image.putalpha(shape.filter(ImageFilter.GaussianBlur(0.7)))
    return image


def _barcode(
    rng: np.random.Generator,
    pen: ImageDraw.ImageDraw,
    extent: int,
    y: float,
    height: float,
    ink: Colour,
) -> None:
    """A row of upright bars."""
    x, end = float(rng.uniform(20, 60)), extent - rng.uniform(20, 60)
    while x < end:
        bar = float(rng.choice((2, 2, 4, 6)))
        pen.rectangle((x, y, x + bar - 1, y + height), fill=ink)
        x += bar + float(rng.choice((2, 3, 5)))


def _glyph_line(
    rng: np.random.Generator, extent: int, y: float, height: float, ink: Colour
) -> list[Sprite]:
    """A line of marks that look like letters, each a part of its own."""
    sprites = []
    x, end = float(rng.uniform(18, 70)), extent - rng.uniform(18, 70)
    weight = max(2, round(height * rng.uniform(0.1, 0.2)))
    while x < end:
        if rng.random() < 0.85:
            sprites.append(Sprite(_glyph(rng, height, weight, ink), round(x), round(y)))
        x += height * 0.85
    return sprites


def _glyph(rng: np.random.Generator, height: float, weight: int, ink: Colour) -> Image.Image:
    """Two to four strokes and arcs on a grid of three by three, mode ``RGBA``."""
    tall, wide = int(height), max(6, int(height * 0.65))
    image = Image.new("RGBA", (wide, tall), (*ink, 0))
    pen = ImageDraw.Draw(image)
    xs, ys = (1, wide // 2, wide - 2), (1, tall // 2, tall - 2)
    for _ in range(int(rng.integers(2, 5))):
        a, b, c, d = rng.integers(0, 3, 4).tolist()
        if rng.random() < 0.3:
            pen.arc((1, 1, wide - 2, tall - 2), a * 90, a * 90 + 180, fill=ink, width=weight)
        else:
            pen.line((xs[a], ys[b], xs[c], ys[d]), fill=ink, width=weight)
    return image
