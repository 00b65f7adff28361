"""Colour boards: copper under solder mask, gold pads, white print, and components."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from adcopilot_edge.training.synthetic.boards import draw_layout
from adcopilot_edge.training.synthetic.canvas import Colour, smooth_noise, to_image
from adcopilot_edge.training.synthetic.sprites import Sprite
from adcopilot_edge.types import FloatArray

_MASKS: tuple[Colour, ...] = (
    (22, 92, 48),
    (30, 120, 60),
    (18, 62, 130),
    (24, 44, 96),
    (140, 28, 30),
    (32, 34, 36),
)


class BoardFinish:
    """The look of one colour board: everything but the copper, which is given to `render`."""

    def __init__(self, rng: np.random.Generator, extent: int) -> None:
        mask = np.asarray(_MASKS[int(rng.integers(len(_MASKS)))], dtype=np.float32)
        self.bare = np.clip(mask * np.float32(rng.uniform(0.7, 1.2)), 0, 255)
        lift = rng.uniform(28.0, 55.0)
        is_exposed = rng.random() < 0.35
        metal = (214.0, 172.0, 92.0) if rng.random() < 0.6 else (200.0, 200.0, 196.0)
        self.metal = np.asarray(metal, dtype=np.float32)
        self.copper = self.metal if is_exposed else self.bare + np.float32(lift)
        self.windows = _draw_windows(rng, extent)
        self.silk = _draw_silk(rng, extent)
        self.clouds = smooth_noise(rng, extent, extent, 40.0) * np.float32(3.0)

    def render(self, layout: Image.Image) -> Image.Image:
        """The board with ``layout`` (mode ``L``) as its copper, mode ``RGB``."""
        copper = _coverage(layout)
        exposed = _coverage(self.windows)
        body = self.copper + (self.metal - self.copper) * exposed
        pixels = self.bare + (body - self.bare) * copper
        pixels += (np.float32(225.0) - pixels) * _coverage(self.silk) * np.float32(0.9)
        return Image.fromarray(to_image(pixels + self.clouds[:, :, None]))


def draw_colour_board(
    rng: np.random.Generator, extent: int
) -> tuple[Image.Image, BoardFinish, list[Sprite]]:
    """The copper layout (mode ``L``), the finish, and the components of a random board."""
    sprites = _draw_components(rng, extent) if rng.random() < 0.5 else []
    return draw_layout(rng, extent), BoardFinish(rng, extent), sprites


def _coverage(plane: Image.Image) -> FloatArray:
    """(E, E, 1) float32 0..1 of a mode ``L`` plane, its edges softened."""
    soft = plane.filter(ImageFilter.GaussianBlur(0.6))
    return np.asarray(soft, dtype=np.float32)[:, :, None] / np.float32(255.0)


def _draw_windows(rng: np.random.Generator, extent: int) -> Image.Image:
    """Openings of the solder mask, where copper shows as bare metal."""
    plane = Image.new("L", (extent, extent))
    pen = ImageDraw.Draw(plane)
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(0, extent, 2).tolist()
        w, h = rng.uniform(10, 60, 2).tolist()
        if rng.random() < 0.5:
            pen.ellipse((x - w, y - w, x + w, y + w), fill=255)
        else:
            pen.rectangle((x - w, y - h, x + w, y + h), fill=255)
    return plane


def _draw_silk(rng: np.random.Generator, extent: int) -> Image.Image:
    """White print: frames, lines and letters."""
    plane = Image.new("L", (extent, extent))
    pen = ImageDraw.Draw(plane)
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(10, extent - 30, 2).tolist()
        w, h = rng.uniform(12, 60, 2).tolist()
        if rng.random() < 0.5:
            pen.rectangle((x, y, x + w, y + h), outline=255, width=2)
        else:
            letter = "RCUJDLQ"[int(rng.integers(7))]
            pen.text((x, y), f"{letter}{int(rng.integers(1, 99))}", fill=255)
    return plane


def _draw_components(rng: np.random.Generator, extent: int) -> list[Sprite]:
    """A few chips and two-terminal parts at separate places."""
    sprites: list[Sprite] = []
    taken: list[tuple[int, int, int]] = []
    for _ in range(int(rng.integers(2, 8))):
        image = _chip(rng) if rng.random() < 0.4 else _two_terminal(rng)
        reach = max(image.size)
        x, y = rng.integers(24, extent - 24, 2).tolist()
        if all(max(abs(x - a), abs(y - b)) > (reach + other) // 2 + 4 for a, b, other in taken):
            taken.append((x, y, reach))
            sprites.append(Sprite(image, x, y))
    return sprites


def _chip(rng: np.random.Generator) -> Image.Image:
    """A dark package with leads on two sides, mode ``RGBA``."""
    wide, tall = rng.integers(18, 48, 2).tolist()
    lead = int(rng.integers(3, 6))
    image = Image.new("RGBA", (wide + 2 * lead, tall))
    pen = ImageDraw.Draw(image)
    for y in range(3, tall - 4, 6):
        pen.rectangle((0, y, wide + 2 * lead, y + 2), fill=(190, 190, 188, 255))
    body = int(rng.integers(22, 60))
    pen.rectangle((lead, 0, lead + wide, tall), fill=(body, body, body + 3, 255))
    pen.ellipse((lead + 3, 3, lead + 7, 7), fill=(body + 60, body + 60, body + 60, 255))
    return image if rng.random() < 0.5 else image.transpose(Image.Transpose.ROTATE_90)


def _two_terminal(rng: np.random.Generator) -> Image.Image:
    """A resistor or capacitor, mode ``RGBA``."""
    long, short = int(rng.integers(14, 32)), int(rng.integers(8, 16))
    image = Image.new("RGBA", (long, short), (196, 196, 192, 255))
    body = (40, 38, 38, 255) if rng.random() < 0.5 else (168, 128, 84, 255)
    cap = max(2, long // 5)
    ImageDraw.Draw(image).rectangle((cap, 0, long - cap - 1, short), fill=body)
    return image if rng.random() < 0.5 else image.transpose(Image.Transpose.ROTATE_90)
