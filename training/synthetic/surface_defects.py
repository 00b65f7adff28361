"""Defects painted onto a finished RGB surface: scratch, stain, crack, dent, dirt, discolouration.

Each is drawn on a small crop and verified to be visible; the mask is where the crop changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from adcopilot_edge.training.synthetic.canvas import (
    MARGIN,
    Point,
    blob,
    dilate,
    log_uniform,
    smooth_noise,
    to_image,
    wiggle,
)
from adcopilot_edge.training.synthetic.drawing import MIN_AREA, Mark, visible_area
from adcopilot_edge.training.synthetic.records import SURFACE_LABELS
from adcopilot_edge.types import FloatArray

_INSET = MARGIN + 10
"""Distance of a defect's centre from the border of the canvas, in pixels."""
_MIN_CHANGE = 10
_MIN_MEAN_CHANGE = 20.0
_SIDE = 96
"""Side of the crop that a defect is painted on, in pixels."""


class Patch:
    """The crop of the surface that one defect is painted on.

    pixels: (S, S, 3) float32 0..255. Coordinates inside the crop; ``middle`` is its centre.
    """

    def __init__(self, rng: np.random.Generator, pixels: FloatArray) -> None:
        self.rng = rng
        self.pixels = pixels
        self.side = pixels.shape[0]
        self.middle: Point = (self.side / 2, self.side / 2)
        self.mean = pixels.reshape(-1, 3).mean(axis=0)

    def plane(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        """An empty coverage image and a pen for it."""
        image = Image.new("L", (self.side, self.side))
        return image, ImageDraw.Draw(image)

    def cover(self, coverage: Image.Image, colour: FloatArray, *, blur: float) -> FloatArray:
        """The pixels with ``colour`` laid over them by ``coverage``, softened by ``blur`` px."""
        soft = coverage.filter(ImageFilter.GaussianBlur(blur)) if blur > 0 else coverage
        alpha = np.asarray(soft, dtype=np.float32)[:, :, None] / np.float32(255.0)
        return self.pixels + (colour - self.pixels) * alpha

    def contrasting(self, strength: float) -> FloatArray:
        """A grey shifted from the mean colour by ``strength`` levels, to the side with room."""
        luminance = float(self.mean.mean())
        if luminance < 80:
            sign = 1.0
        elif luminance > 175:
            sign = -1.0
        else:
            sign = float(self.rng.choice((-1.0, 1.0)))
        return np.clip(self.mean + np.float32(sign * strength), 0, 255).astype(np.float32)


def _scratch(patch: Patch) -> FloatArray:
    rng = patch.rng
    coverage, pen = patch.plane()
    length, turn = log_uniform(rng, 14.0, 84.0) / 2, rng.uniform(0.0, math.pi)
    dx, dy = math.cos(turn) * length, math.sin(turn) * length
    x, y = patch.middle
    path = wiggle(rng, (x - dx, y - dy), (x + dx, y + dy), amplitude=rng.uniform(0.0, length * 0.2))
    level = int(rng.uniform(170, 256))
    pen.line(path, fill=level, width=int(rng.integers(1, 4)), joint="curve")
    if rng.random() < 0.3:
        pen.line([(a + 4, b + 2) for a, b in path[1:-1]], fill=level, width=1)
    return patch.cover(coverage, patch.contrasting(rng.uniform(60, 140)), blur=0.5)


def _stain(patch: Patch) -> FloatArray:
    rng = patch.rng
    coverage, pen = patch.plane()
    radius = log_uniform(rng, 5.0, 26.0)
    pen.polygon(blob(rng, patch.middle, radius), fill=int(rng.uniform(110, 220)))
    if rng.random() < 0.4:
        pen.line(blob(rng, patch.middle, radius), fill=230, width=2)
    tint = patch.mean * rng.uniform(0.25, 0.7, 3).astype(np.float32)
    if patch.mean.mean() < 70:
        tint = patch.mean + rng.uniform(50, 110, 3).astype(np.float32)
    return patch.cover(coverage, tint, blur=rng.uniform(0.6, 3.0))


def _crack(patch: Patch) -> FloatArray:
    rng = patch.rng
    coverage, pen = patch.plane()
    x, y = patch.middle
    heading = rng.uniform(0.0, 2 * math.pi)
    reach = log_uniform(rng, 12.0, 42.0)
    start = (x - math.cos(heading) * reach, y - math.sin(heading) * reach)
    branches = [(start, heading, 2 * reach)]
    branches += [
        ((x, y), heading + rng.uniform(-1.2, 1.2), reach * rng.uniform(0.4, 0.9))
        for _ in range(int(rng.integers(0, 3)))
    ]
    for (bx, by), direction, length in branches:
        path = [(bx, by)]
        for _ in range(7):
            direction += rng.normal(0.0, 0.5)
            bx += math.cos(direction) * length / 7
            by += math.sin(direction) * length / 7
            path.append((bx, by))
        half = len(path) // 2
        pen.line(path, fill=230, width=int(rng.integers(1, 3)))
        pen.line(path[: half + 1], fill=255, width=int(rng.integers(2, 4)))
    dark = patch.mean * np.float32(rng.uniform(0.0, 0.35))
    if patch.mean.mean() < 70:
        dark = patch.mean + np.float32(rng.uniform(50, 110))
    return patch.cover(coverage, dark, blur=0.4)


def _dent(patch: Patch) -> FloatArray:
    rng = patch.rng
    radius, angle = log_uniform(rng, 5.0, 17.0), rng.uniform(0.0, 2 * math.pi)
    rows, columns = np.mgrid[0 : patch.side, 0 : patch.side].astype(np.float32)
    across, down = columns - patch.middle[0], rows - patch.middle[1]
    down *= np.float32(rng.uniform(0.8, 1.4))
    distance = np.sqrt(across**2 + down**2) / np.float32(radius)
    slope = (across * math.cos(angle) + down * math.sin(angle)) / np.float32(radius)
    shade = slope * np.exp(-(distance**4)) * np.float32(rng.uniform(60, 120))
    return patch.pixels + shade.astype(np.float32)[:, :, None]


def _contamination(patch: Patch) -> FloatArray:
    rng = patch.rng
    coverage, pen = patch.plane()
    x, y = patch.middle
    if rng.random() < 0.4:
        reach = rng.uniform(8.0, 26.0)
        turn = rng.uniform(0.0, math.pi)
        dx, dy = math.cos(turn) * reach, math.sin(turn) * reach
        fibre = wiggle(rng, (x - dx, y - dy), (x + dx, y + dy), amplitude=reach * 0.5, count=12)
        pen.line(fibre, fill=235, width=int(rng.integers(1, 3)), joint="curve")
    else:
        spread = rng.uniform(1.0, 10.0)
        for _ in range(int(rng.integers(1, 7))):
            spot = (x + rng.normal(0.0, spread), y + rng.normal(0.0, spread))
            pen.polygon(blob(rng, spot, log_uniform(rng, 2.0, 6.0)), fill=245)
    colour = rng.uniform(0.0, 255.0, 3).astype(np.float32)
    if rng.random() < 0.5:
        colour = patch.contrasting(rng.uniform(70, 150))
    return patch.cover(coverage, colour, blur=0.5)


def _discolouration(patch: Patch) -> FloatArray:
    rng = patch.rng
    coverage, pen = patch.plane()
    radius = rng.uniform(9.0, 30.0)
    pen.polygon(blob(rng, patch.middle, radius, roughness=0.2), fill=255)
    alpha = np.asarray(coverage.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.5, 5.0)))))
    shift = rng.normal(0.0, 1.0, 3)
    shift = shift / max(1e-6, float(np.abs(shift).max())) * rng.uniform(30.0, 70.0)
    cloud = 1.0 + 0.2 * smooth_noise(rng, patch.side, patch.side, 9.0)
    soft = (alpha.astype(np.float32) / np.float32(255.0)) * cloud
    return patch.pixels + soft[:, :, None] * shift.astype(np.float32)


def paint_surface_defect(
    rng: np.random.Generator, surface: Image.Image, label: str
) -> tuple[Image.Image, Mark] | None:
    """``surface`` with one visible defect as a new RGB image and its mark; None if it didn't show.

    Args:
        rng: the source of randomness.
        surface: mode ``RGB``, the whole canvas.
        label: one of ``SURFACE_LABELS``.
    """
    extent = surface.size[0]
    centre = rng.integers(_INSET, extent - _INSET, 2).tolist()
    left = min(max(0, centre[0] - _SIDE // 2), extent - _SIDE)
    top = min(max(0, centre[1] - _SIDE // 2), extent - _SIDE)
    before = surface.crop((left, top, left + _SIDE, top + _SIDE))
    patch = Patch(rng, np.asarray(before, dtype=np.float32))
    patch.middle = (float(centre[0] - left), float(centre[1] - top))
    after = to_image(_PAINT[label](patch))
    change = np.abs(after.astype(np.int16) - np.asarray(before)).max(axis=2)
    changed = change > _MIN_CHANGE
    mask = np.zeros((extent, extent), dtype=np.bool_)
    mask[top : top + _SIDE, left : left + _SIDE] = changed
    if visible_area(mask) < MIN_AREA or float(change[changed].mean()) < _MIN_MEAN_CHANGE:
        return None
    damaged = surface.copy()
    damaged.paste(Image.fromarray(after), (left, top))
    return damaged, Mark(label, dilate(mask))


_PAINT: dict[str, Callable[[Patch], FloatArray]] = dict(
    zip(
        SURFACE_LABELS,
        (_scratch, _stain, _crack, _dent, _contamination, _discolouration),
        strict=True,
    )
)
