"""Small made-up photographs: soft ground, some coloured things on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from adcopilot_edge.training.synthetic.canvas import smooth_noise, to_image


def write_photos(folder: Path, count: int = 3, *, width: int = 320, height: int = 240) -> Path:
    """``count`` pictures called ``photo-0.jpg`` and so on; every second one a PNG. Gives back."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        suffix = "jpg" if number % 2 == 0 else "png"
        draw_photo(number, width, height).save(folder / f"photo-{number}.{suffix}")
    return folder


def draw_photo(seed: int, width: int, height: int) -> Image.Image:
    """One of them."""
    rng = np.random.default_rng(seed)
    ground = rng.uniform(60.0, 190.0, 3).astype(np.float32)
    noise = smooth_noise(rng, height, width, 30.0) * np.float32(15.0)
    noise += smooth_noise(rng, height, width, 3.0) * np.float32(5.0)
    picture = Image.fromarray(to_image(ground + noise[:, :, None]))
    pen = ImageDraw.Draw(picture)
    for _ in range(14):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        radius = int(rng.integers(8, 36))
        colour = tuple(rng.integers(0, 256, 3).tolist())
        pen.ellipse((x - radius, y - radius, x + radius, y + radius // 2 + 4), fill=colour)
    return picture
