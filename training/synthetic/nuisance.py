"""What differs between two good images of one product: registration, optics, light and sensor."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageFilter

from adcopilot_edge.training.synthetic.canvas import MARGIN, smooth_noise, to_image
from adcopilot_edge.types import FloatArray, ImageArray

Affine = tuple[float, float, float, float, float, float]

_MAX_SHIFT_PX = 3.5
CENTRED: Affine = (1.0, 0.0, MARGIN, 0.0, 1.0, MARGIN)
"""The view of a camera that stands exactly where it should."""


def draw_registration(rng: np.random.Generator, size: int, *, sigma_px: float) -> Affine:
    """A view that is off by ``sigma_px``, in one of five pairs by a multiple of it or turned more.

    Real stations err in this way: half of the DeepPCB pairs are off by less than 0.5 px and one in
    ten by more than 1.5 px, and over half a scan the error itself changes by a pixel. The matrix
    maps pixels of the view to pixels of the canvas, as Pillow's transform wants it.
    """
    dx, dy = rng.normal(0.0, sigma_px, 2).tolist()
    angle = math.radians(rng.normal(0.0, 0.12))
    scale = 1.0 + rng.normal(0.0, 0.0015)
    if rng.random() < 0.2:
        dx, dy = rng.normal(0.0, 3.0 * sigma_px, 2).tolist()
        if rng.random() < 0.4:
            angle = math.radians(rng.uniform(-1.0, 1.0))
    dx, dy = (min(_MAX_SHIFT_PX, max(-_MAX_SHIFT_PX, value)) for value in (dx, dy))
    cos, sin, middle = scale * math.cos(angle), scale * math.sin(angle), size / 2
    left = MARGIN + dx + middle - cos * middle - sin * middle
    top = MARGIN + dy + middle + sin * middle - cos * middle
    return (cos, sin, left, -sin, cos, top)


def take_view(
    canvas: Image.Image, view: Affine, size: int, *, is_index: bool = False
) -> Image.Image:
    """The ``size`` x ``size`` image that ``view`` shows of a canvas; nearest pixel for an index."""
    resampling = Image.Resampling.NEAREST if is_index else Image.Resampling.BILINEAR
    return canvas.transform((size, size), Image.Transform.AFFINE, view, resampling)


def photograph(rng: np.random.Generator, view: Image.Image, strength: float) -> ImageArray:
    """A camera image (H, W, 3) uint8 of an RGB view, with its own light, optics and noise.

    Args:
        rng: the source of randomness.
        view: mode ``RGB``.
        strength: 0..1, how far the camera is from ideal.
    """
    if rng.random() < 0.7:
        view = view.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.3 + 0.7 * strength))))
    pixels = np.asarray(view.point(_tone_tables(rng, strength)), dtype=np.float32)
    height, width = pixels.shape[:2]
    if rng.random() < 0.6:
        pixels = pixels * _gradient(rng, height, width, strength)[:, :, None]
    sigma = rng.uniform(0.3, 1.0 + 5.0 * strength)
    if rng.random() < 0.5:
        noise = rng.standard_normal((height, width, 1), dtype=np.float32)
    else:
        noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    image = to_image(pixels + noise * np.float32(sigma))
    if rng.random() < 0.4:
        image = _recompress(image, int(rng.integers(round(92 - 45 * strength), 96)))
    return image


def _tone_tables(rng: np.random.Generator, strength: float) -> list[int]:
    """Gain, offset and gamma for each of three channels, as one table of 768 entries."""
    levels = np.arange(256, dtype=np.float64) / 255.0
    gain = 1.0 + rng.uniform(-0.15, 0.15) * strength
    gamma = math.exp(rng.uniform(-0.2, 0.2) * strength)
    offset = rng.uniform(-0.03, 0.03) * strength
    tables = []
    for _ in range(3):
        tint = 1.0 + rng.normal(0.0, 0.015) * strength
        curve = gain * tint * levels**gamma + offset
        tables.append(np.clip(np.rint(curve * 255.0), 0, 255).astype(int))
    return [int(value) for value in np.concatenate(tables)]


def _gradient(rng: np.random.Generator, height: int, width: int, strength: float) -> FloatArray:
    """A slow change of the light over the image, (H, W) float32 around 1."""
    if rng.random() < 0.5:
        return 1.0 + smooth_noise(rng, height, width, width / 2) * np.float32(0.03 * strength)
    tilt = rng.uniform(-0.12, 0.12, 2).astype(np.float32) * np.float32(strength)
    rows = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    return np.float32(1.0) + rows * tilt[0] + columns * tilt[1]


def _recompress(image: ImageArray, quality: int) -> ImageArray:
    """``image`` after a JPEG round trip."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    stream.seek(0)
    return np.array(Image.open(stream).convert("RGB"))
