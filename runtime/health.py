"""Whether a test image shows the golden's view: offset, brightness, colour, sharpness, in numbers.

Plain image processing on small grey pictures, before any graph runs; nothing here changes a
verdict. What is finer than the small picture shows, blur of a pixel of a large camera say, is not
seen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.types import FloatArray, Health, ImageArray

_LONG_SIDE = 512  # of the small pictures, at most
_SHORT_SIDE = 8  # of them, at least: a strip is continued by its edge
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_PEAK_WIDTH = 1.0  # sigma of the correlation's peak, in pixels of the halved small picture
_FLOOR = 1e-3  # of variances in grey levels squared: a constant picture has no sharpness


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthLimits:
    """How far a test image may be from the golden's view before it is told; None sets no limit.

    The numbers are those of ``Health``: the length of the offset, the change of the brightness from
    1 (0.2 allows 0.8 to 1.2), the colour shift, the least sharpness and similarity.
    """

    max_offset_px: float | None = None
    max_brightness_change: float | None = None
    max_colour_shift: float | None = None
    min_sharpness: float | None = None
    min_similarity: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 <= value < np.inf:
                raise ConfigError(f"{field.name} must be at least 0, got {value}")

    def notes(self, health: Health) -> Iterator[str]:
        """What is out of its limit, as ``health:offset 12.3 px``."""
        if _exceeds(health.offset_px, self.max_offset_px):
            yield f"health:offset {health.offset_px:.1f} px"
        if _exceeds(abs(health.brightness - 1), self.max_brightness_change):
            yield f"health:brightness x{health.brightness:.2f}"
        if _exceeds(health.colour_shift, self.max_colour_shift):
            yield f"health:colour {health.colour_shift:.3f}"
        if self.min_sharpness is not None and health.sharpness < self.min_sharpness:
            yield f"health:sharpness x{health.sharpness:.2f}"
        if self.min_similarity is not None and health.similarity < self.min_similarity:
            yield f"health:similarity {health.similarity:.2f}"


class HealthCheck:
    """Compares test images with golden images; what is constant for a golden is kept.

    Args:
        limits: When to tell.
        num_kept: For how many golden images.
    """

    def __init__(self, limits: HealthLimits, *, num_kept: int = 16) -> None:
        self._limits = limits
        self._num_kept = num_kept
        self._views: OrderedDict[tuple[str, tuple[int, int]], View] = OrderedDict()

    def check(
        self, golden: ImageArray, golden_sha256: str, test: View
    ) -> tuple[Health, tuple[str, ...]]:
        """Compare a test image with a golden image of the same proportions.

        Args:
            golden: (H, W, 3) uint8 RGB of any size.
            golden_sha256: Its ``pixel_hash``.
            test: Of the test image.

        Returns:
            The numbers, and notes on those out of their limit.
        """
        key = golden_sha256, test.shape
        if key not in self._views:
            raster = Image.fromarray(golden)
            small = _resized(_reduced(raster), test.shape)
            self._views[key] = View(small, _factor(raster))
            if len(self._views) > self._num_kept:
                self._views.popitem(last=False)
        self._views.move_to_end(key)
        health = _compare(self._views[key], test)
        return health, tuple(self._limits.notes(health))


def measure_health(golden: ImageArray, test: ImageArray) -> Health:
    """Compare a test image (H, W, 3) uint8 RGB with a golden image of the same proportions."""
    return HealthCheck(HealthLimits()).check(golden, "", View.of(test))[0]


class View:
    """What is compared of one picture.

    Args:
        small: The picture made small, (H, W, 3) uint8.
        scale: Pixels of the picture in one of ``small``, along each side.
    """

    def __init__(self, small: ImageArray, scale: int) -> None:
        self.shape = small.shape[:2]
        self.scale = scale
        means = small.reshape(-1, 3).mean(axis=0, dtype=np.float64) + 0.01  # black has a colour too
        self.brightness = float(means @ _LUMA)
        self.shares = means / means.sum()
        grey = small @ _LUMA
        self.sharpness = _variance(_laplacian(grey)) / _variance(grey)
        self.grey = _halved(grey)
        centred = (self.grey - self.grey.mean()) * _window(self.grey.shape)
        self.spectrum = np.fft.rfft2(centred)

    @classmethod
    def of(cls, image: ImageArray | Image.Image) -> View:
        """The view of a picture of any size, (H, W, 3) uint8 RGB or Pillow's of mode RGB."""
        raster = image if isinstance(image, Image.Image) else Image.fromarray(image)
        return cls(_reduced(raster), _factor(raster))


def _compare(golden: View, test: View) -> Health:
    """The numbers of two views of one shape."""
    dx, dy = _offset(golden.spectrum, test.spectrum, golden.grey.shape)
    return Health(
        offset_x=2 * test.scale * dx,
        offset_y=2 * test.scale * dy,
        brightness=test.brightness / golden.brightness,
        colour_shift=float(np.abs(test.shares - golden.shares).max()),
        sharpness=test.sharpness / golden.sharpness,
        similarity=_similarity(golden.grey, test.grey, round(dx), round(dy)),
    )


def _offset(
    golden: NDArray[np.complex128], test: NDArray[np.complex128], shape: tuple[int, ...]
) -> tuple[float, float]:
    """How far right and down the test's content lies: phase correlation, to a part of a pixel.

    Low frequencies weigh as a Gaussian, which makes the peak one: its logarithm is a parabola.
    """
    cross = test * np.conj(golden)
    strength = np.abs(cross)
    if not strength.any():
        return 0.0, 0.0
    rows, cols = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    weight = np.exp(-2 * (np.pi * _PEAK_WIDTH) ** 2 * (rows**2 + cols**2))
    surface = np.fft.irfft2(cross / (strength + 1e-3 * strength.mean()) * weight, s=shape)
    y, x = np.unravel_index(int(surface.argmax()), surface.shape)
    return _refined(surface[y], int(x)), _refined(surface[:, x], int(y))


def _refined(line: NDArray[np.float64], peak: int) -> float:
    """The place of a Gaussian peak on a line that closes to a ring, negative beyond its half."""
    count = len(line)
    around = line[[peak - 1, peak, (peak + 1) % count]]
    before, at, after = np.log(np.maximum(around, 1e-12))
    bend = before - 2 * at + after
    part = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return (peak if peak <= count // 2 else peak - count) + float(np.clip(part, -0.5, 0.5))


def _similarity(golden: FloatArray, test: FloatArray, dx: int, dy: int) -> float:
    """Correlation of two greys where they overlap behind the offset, -1..1; 1 if both are flat."""
    height, width = golden.shape
    one = golden[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
    other = test[max(0, dy) : height - max(0, -dy), max(0, dx) : width - max(0, -dx)]
    one, other = one - one.mean(), other - other.mean()
    floor = _FLOOR * one.size
    power = np.sqrt(((one**2).sum() + floor) * ((other**2).sum() + floor))
    return float(np.clip(((one * other).sum() + floor) / power, -1, 1))


def _laplacian(grey: FloatArray) -> FloatArray:
    middle = grey[1:-1, 1:-1]
    return grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle


def _variance(values: FloatArray) -> float:
    return float(values.var()) + _FLOOR


def _window(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Fades to the edges, which would match whatever the content does."""
    return np.outer(np.hanning(shape[0] + 2)[1:-1], np.hanning(shape[1] + 2)[1:-1])


def _halved(grey: FloatArray) -> FloatArray:
    """Means of two by two pixels; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in grey.shape)
    cells = grey[:height, :width].reshape(height // 2, 2, width // 2, 2)
    return np.asarray(cells.mean(axis=(1, 3)), np.float32)


def _factor(image: Image.Image) -> int:
    """How many pixels of an image become one of its small picture, along each side."""
    return int(np.ceil(max(image.size) / _LONG_SIDE))


def _reduced(image: Image.Image) -> ImageArray:
    """The image at a whole fraction of its size, long side at most ``_LONG_SIDE``, by means."""
    factor = _factor(image)
    small = np.asarray(image if factor == 1 else image.reduce(factor))
    missing = [(0, max(0, _SHORT_SIDE - side)) for side in small.shape[:2]]
    return np.pad(small, (*missing, (0, 0)), mode="edge") if np.any(missing) else small


def _resized(image: ImageArray, shape: tuple[int, ...]) -> ImageArray:
    if image.shape[:2] == shape:
        return image
    picture = Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def _exceeds(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit
