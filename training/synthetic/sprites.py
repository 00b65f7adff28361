"""Parts that lie on a background, so that one of them can be missing or out of place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from adcopilot_edge.training.synthetic.canvas import dilate
from adcopilot_edge.training.synthetic.drawing import MIN_AREA, Mark, visible_area

_MIN_CHANGE = 16


@dataclass(frozen=True, slots=True)
class Sprite:
    """A part: an ``RGBA`` image and the canvas pixel of its centre."""

    image: Image.Image
    x: int
    y: int

    def paste(self, canvas: Image.Image) -> None:
        """Lay the part on ``canvas`` (mode ``RGB``), in place."""
        width, height = self.image.size
        canvas.paste(self.image, (self.x - width // 2, self.y - height // 2), self.image)


def compose(background: Image.Image, sprites: Sequence[Sprite]) -> Image.Image:
    """A new image with all ``sprites`` on the background, in order."""
    canvas = background.copy()
    for sprite in sprites:
        sprite.paste(canvas)
    return canvas


def spoil_part(
    rng: np.random.Generator, background: Image.Image, sprites: Sequence[Sprite]
) -> tuple[list[Sprite], Mark] | None:
    """The parts with one removed or moved, and the mark of it; None when that hardly shows."""
    if not sprites:
        return None
    index = int(rng.integers(len(sprites)))
    part = sprites[index]
    if rng.random() < 0.5:
        label, changed = "missing part", [*sprites[:index], *sprites[index + 1 :]]
    else:
        label, changed = "misplaced part", list(sprites)
        changed[index] = _displace(rng, part)
    before = np.asarray(compose(background, sprites), dtype=np.int16)
    after = np.asarray(compose(background, changed), dtype=np.int16)
    mask = np.abs(after - before).max(axis=2) > _MIN_CHANGE
    if visible_area(mask) < 2 * MIN_AREA or visible_area(mask) * 2 < np.count_nonzero(mask):
        return None
    return changed, Mark(label, dilate(mask))


def _displace(rng: np.random.Generator, part: Sprite) -> Sprite:
    """``part`` shifted by a good share of its size, turned, or both."""
    width, height = part.image.size
    image, dx, dy = part.image, 0.0, 0.0
    if rng.random() < 0.5:
        angle = float(rng.uniform(14.0, 80.0) * rng.choice((-1.0, 1.0)))
        image = image.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    if image is part.image or rng.random() < 0.4:
        reach = max(7.0, 0.35 * min(width, height))
        dx, dy = (rng.uniform(0.7, 1.3, 2) * rng.choice((-1.0, 1.0), 2) * reach).tolist()
    return Sprite(image, part.x + round(dx), part.y + round(dy))
