"""Surfaces that no training draws: a model is measured on them, as on a product it never met.

A decorated ceramic tile, whose glaze has its own speckles on each piece, and a blister pack with
tablets or capsules in its cavities.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from adcopilot_edge.training.synthetic.assemblies import Assembly
from adcopilot_edge.training.synthetic.canvas import (
    Colour,
    random_colour,
    smooth_noise,
    to_image,
)
from adcopilot_edge.training.synthetic.sprites import Sprite
from adcopilot_edge.training.synthetic.textures import Redraw
from adcopilot_edge.types import FloatArray


def draw_ceramic(rng: np.random.Generator, extent: int) -> Redraw:
    """Tiles of one motif between joints, each a mirror of its neighbour, under a speckled glaze."""
    ground, joint = random_colour(rng, 150, 250), random_colour(rng, 60, 200)
    side = int(rng.integers(70, 160))
    motif = _motif(rng, side, ground)
    tiles = Image.new("RGB", (extent, extent), joint)
    gap = int(rng.integers(2, 7))
    first = -int(rng.integers(0, side))
    for row, y in enumerate(range(first, extent, side + gap)):
        for column, x in enumerate(range(first, extent, side + gap)):
            tile = motif.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if column % 2 else motif
            tile = tile.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if row % 2 else tile
            tiles.paste(tile, (x, y))
    shade = smooth_noise(rng, extent, extent, 70.0) * np.float32(rng.uniform(2.0, 9.0))
    base = np.asarray(tiles.filter(ImageFilter.GaussianBlur(0.7)), dtype=np.float32)
    base = base + shade[:, :, None]
    speckle, rarity = np.float32(rng.uniform(8.0, 26.0)), float(rng.uniform(1.8, 2.6))

    def redraw(fresh: np.random.Generator) -> Image.Image:
        glaze = smooth_noise(fresh, extent, extent, 30.0) * np.float32(3.0)
        glaze -= (smooth_noise(fresh, extent, extent, 1.6) > rarity) * speckle
        return Image.fromarray(to_image(base + glaze[:, :, None]))

    return redraw


def _motif(rng: np.random.Generator, side: int, ground: Colour) -> Image.Image:
    """One tile's decoration: petals, rings and corners in two or three colours, mode ``RGB``."""
    tile = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(tile)
    colours = [random_colour(rng, 20, 235) for _ in range(int(rng.integers(2, 4)))]
    middle = side / 2
    for number in range(int(rng.integers(2, 5))):
        colour = colours[number % len(colours)]
        reach = float(rng.uniform(0.15, 0.48)) * side
        kind = int(rng.integers(4))
        box = (middle - reach, middle - reach, middle + reach, middle + reach)
        if kind == 0:
            pen.ellipse(box, outline=colour, width=max(2, side // 24))
        elif kind == 1:
            pen.regular_polygon((middle, middle, reach), int(rng.integers(3, 9)), fill=colour)
        elif kind == 2:
            _petals(pen, middle, reach, int(rng.integers(4, 9)), colour)
        else:
            for x in (0, side):
                for y in (0, side):
                    pen.ellipse(
                        (x - reach, y - reach, x + reach, y + reach), outline=colour, width=3
                    )
    return tile


def _petals(
    pen: ImageDraw.ImageDraw, middle: float, reach: float, count: int, colour: Colour
) -> None:
    """Discs in a ring, one beside the other."""
    size = 0.8 * reach * math.sin(math.pi / count)
    for number in range(count):
        angle = 2 * math.pi * number / count
        x, y = middle + reach * math.cos(angle) * 0.7, middle + reach * math.sin(angle) * 0.7
        pen.ellipse((x - size, y - size, x + size, y + size), fill=colour)


def draw_blister(rng: np.random.Generator, extent: int) -> Assembly:
    """An embossed foil with cavities in rows, a tablet or a capsule in each."""
    background = _foil(rng, extent)
    width = float(rng.uniform(26.0, 60.0))
    length = width * float(rng.choice((1.0, 1.0, 1.6, 2.2)))
    body, cap = random_colour(rng, 60, 250), random_colour(rng, 60, 250)
    pill = _pill(rng, width, length, body, cap if length > width and rng.random() < 0.7 else body)
    pitch = (length * rng.uniform(1.3, 1.7), width * rng.uniform(1.3, 1.8))
    light = rng.uniform(0.0, 2 * math.pi)
    sprites = []
    for y in _steps(extent, width, pitch[1]):
        for x in _steps(extent, length, pitch[0]):
            _cavity(background, x, y, length * 1.18, width * 1.18, light)
            turned = pill.rotate(float(rng.uniform(-3, 3)), Image.Resampling.BILINEAR)
            sprites.append(Sprite(turned, x, y))
    return Assembly(background, sprites)


def _steps(extent: int, size: float, pitch: float) -> list[int]:
    """Centres along one axis, the row in the middle of the image."""
    count = max(1, int((extent * 0.9 - size) // pitch) + 1)
    first = (extent - (count - 1) * pitch) / 2
    return [round(first + number * pitch) for number in range(count)]


def _foil(rng: np.random.Generator, extent: int) -> Image.Image:
    """Grey foil with a fine embossed lattice and soft folds."""
    tone = float(rng.uniform(130.0, 215.0))
    rows, columns = np.mgrid[0:extent, 0:extent].astype(np.float32)
    pitch, depth = np.float32(rng.uniform(4.0, 9.0)), np.float32(rng.uniform(3.0, 12.0))
    lattice = np.sin((rows + columns) * math.pi / pitch) * np.sin(
        (rows - columns) * math.pi / pitch
    )
    folds = smooth_noise(rng, extent, extent, 45.0) * np.float32(rng.uniform(2.0, 10.0))
    tint = np.asarray(rng.uniform(0.96, 1.04, 3) * tone, dtype=np.float32)
    return Image.fromarray(to_image((lattice * depth + folds)[:, :, None] + tint))


def _cavity(
    background: Image.Image, x: int, y: int, length: float, width: float, light: float
) -> None:
    """Press one cavity into ``background``: a dark rim, a glint on the side of the light."""
    pen = ImageDraw.Draw(background, "RGBA")
    box = (x - length / 2, y - width / 2, x + length / 2, y + width / 2)
    pen.rounded_rectangle(box, radius=width / 2, fill=(60, 62, 66, 70), outline=(40, 42, 46, 140))
    dx, dy = math.cos(light) * width * 0.08, math.sin(light) * width * 0.08
    moved = (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)
    pen.rounded_rectangle(moved, radius=width / 2, outline=(255, 255, 255, 110), width=2)


def _pill(
    rng: np.random.Generator, width: float, length: float, body: Colour, cap: Colour
) -> Image.Image:
    """A shaded tablet or a capsule of two colours, mode ``RGBA``."""
    size = (int(length) + 4, int(width) + 4)
    shape = Image.new("L", size)
    ImageDraw.Draw(shape).rounded_rectangle(
        (2, 2, size[0] - 3, size[1] - 3), radius=width / 2, fill=255
    )
    columns = np.linspace(-1, 1, size[0], dtype=np.float32)[None, :, None]
    down = np.linspace(-1, 1, size[1], dtype=np.float32)[:, None, None]
    seam = np.float32(rng.uniform(-0.2, 0.2))
    base: FloatArray = np.where(
        columns < seam, np.asarray(body, dtype=np.float32), np.asarray(cap, dtype=np.float32)
    )
    shade = np.float32(rng.uniform(15, 50)) * (np.sqrt(np.clip(1 - down**2, 0, 1)) - 0.6)
    if rng.random() < 0.4:  # a score line across
        shade = shade - np.float32(45) * np.exp(-((columns * length / 5) ** 2))
    image = Image.fromarray(to_image((base + shade).astype(np.float32))).convert("RGBA")
    image.putalpha(shape.filter(ImageFilter.GaussianBlur(0.7)))
    return image
