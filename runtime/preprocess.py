"""Pixels to numbers: an RGB picture becomes the patches that the vision graph takes.

The reference implementation for the whole project: the runtime, calibration and the export's
parity report all use it, and a test holds it equal to the image processor of Hugging Face. It
knows nothing of files and pixel formats: that is :mod:`adcopilot_edge.runtime.images`.

The rules are those of Qwen2-VL, restated from ``models/qwen2_vl/image_processing_pil_qwen2_vl.py``
of transformers 5 (Apache-2.0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from adcopilot_edge.errors import ConfigError, InputError
from adcopilot_edge.types import FloatArray, ImageArray

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

_MAX_ASPECT = 200


def smart_resize(
    height: int, width: int, *, factor: int = 28, min_pixels: int, max_pixels: int
) -> tuple[int, int]:
    """Return the (height, width) nearest to the given one that Qwen2-VL can take.

    Both sides become multiples of ``factor``. Where that leaves the area outside
    ``min_pixels..max_pixels``, both sides are first scaled by the same amount: up with rounding
    up, down with rounding down, so that the area ends within the limits. Python's rounding of
    halves to even is part of the rule (a side of 70 gives 56, one of 98 gives 112), and so is that
    a side which rounds to 0 makes the area too small, however long the other.

    Args:
        height: Rows of the picture, in pixels.
        width: Columns of the picture, in pixels.
        factor: Side of one merged patch: ``patch_size * merge_size``.
        min_pixels: Smallest area allowed.
        max_pixels: Largest area allowed; a very long picture may exceed it, since no side falls
            below ``factor``.

    Raises:
        InputError: One side is more than 200 times the other.
    """
    if max(height, width) > _MAX_ASPECT * min(height, width):
        raise InputError(
            f"the image is {width}x{height} pixels: one side is more than {_MAX_ASPECT} times "
            "the other. Crop it or cut it into tiles"
        )
    rows = round(height / factor) * factor
    columns = round(width / factor) * factor
    if rows * columns > max_pixels:
        shrink = math.sqrt((height * width) / max_pixels)
        rows = max(factor, math.floor(height / shrink / factor) * factor)
        columns = max(factor, math.floor(width / shrink / factor) * factor)
    elif rows * columns < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows = math.ceil(height * grow / factor) * factor
        columns = math.ceil(width * grow / factor) * factor
    return rows, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessor:
    """The preprocessing of one bundle: its image size and its constants.

    image_height, image_width: size in pixels that the graphs were exported for, multiples of
    ``patch_size * merge_size``. temporal_patch_size: frames in a patch; a still picture fills all
    of them. image_mean, image_std: of the channels R, G, B on the scale 0..1.
    """

    image_height: int
    image_width: int
    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2
    image_mean: tuple[float, float, float] = CLIP_MEAN
    image_std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        if min(self.patch_size, self.temporal_patch_size, self.merge_size) < 1:
            raise ConfigError(
                "patch_size, temporal_patch_size and merge_size must be at least 1, got "
                f"{self.patch_size}, {self.temporal_patch_size} and {self.merge_size}"
            )
        factor = self.patch_size * self.merge_size
        sides = (self.image_height, self.image_width)
        if min(sides) < factor or any(side % factor for side in sides):
            raise ConfigError(
                f"image_height and image_width must be positive multiples of {factor}, got {sides}"
            )
        if len(self.image_mean) != 3 or len(self.image_std) != 3 or min(self.image_std) <= 0:
            raise ConfigError(
                "image_mean and image_std need three values each, the latter above 0, got "
                f"{self.image_mean} and {self.image_std}"
            )

    @property
    def grid(self) -> tuple[int, int, int]:
        """Patches along time, height and width: (1, rows, columns), Qwen2-VL's ``grid_thw``."""
        return 1, self.image_height // self.patch_size, self.image_width // self.patch_size

    @property
    def patch_values(self) -> int:
        """Numbers in one patch: channels x frames x rows x columns, 1176 for Qwen2-VL."""
        return 3 * self.temporal_patch_size * self.patch_size**2

    def resize(self, image: ImageArray | Image.Image) -> ImageArray:
        """Return ``image`` at the bundle's size, by Pillow's bicubic filter with antialiasing.

        Args:
            image: (H, W, 3) uint8 RGB, or Pillow's image of mode RGB. An array that has the size
                already is returned as it is.
        """
        size = (self.image_width, self.image_height)
        if isinstance(image, Image.Image):
            # Pillow returns a copy, unfiltered, where the size is the image's own.
            return np.asarray(image.resize(size, Image.Resampling.BICUBIC))
        if image.shape[:2] == (self.image_height, self.image_width):
            return image
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))

    def patches(self, image: ImageArray) -> FloatArray:
        """Return the normalised patches, bit for bit the ``pixel_values`` of Hugging Face.

        Patches come in groups of ``merge_size`` x ``merge_size`` neighbours, which the merger of
        the vision tower makes into one token: groups row by row, patches row by row in a group.
        Inside a patch the order is channel, frame, row, column.

        Args:
            image: (image_height, image_width, 3) uint8 RGB.

        Returns:
            (N, 1176) float32, N = rows * columns of ``grid``; values about -1.8 to 2.2.

        Raises:
            InputError: ``image`` has another shape or dtype.
        """
        expected = (self.image_height, self.image_width, 3)
        if image.shape != expected or image.dtype != np.uint8:
            raise InputError(
                f"expected a uint8 image of shape {expected}, got {image.dtype} {image.shape}. "
                "Call Preprocessor.resize first"
            )
        levels = self._to_patch_order(image)
        patches = np.empty((len(levels), 3, self.temporal_patch_size, levels.shape[2]), np.float32)
        for channel, table in enumerate(self._normalised_levels()):
            patches[:, channel] = np.take(table, levels[:, channel])[:, np.newaxis]
        return patches.reshape(len(levels), self.patch_values)

    def _to_patch_order(self, image: ImageArray) -> ImageArray:
        """Reorder (H, W, 3) to (N, 3, patch_size**2): one copy, while a value is still one byte."""
        merge, patch = self.merge_size, self.patch_size
        _, rows, columns = self.grid
        blocks = image.reshape(rows // merge, merge, patch, columns // merge, merge, patch, 3)
        return blocks.transpose(0, 3, 1, 4, 6, 2, 5).reshape(rows * columns, 3, patch**2)

    def _normalised_levels(self) -> FloatArray:
        """Return (3, 256) float32: the normalised value of each of the 256 levels of a channel.

        Rescale in float64, round to float32, then shift and divide in float32: the same steps as
        upstream, so a look-up loses nothing against them.
        """
        levels = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
        mean = np.array(self.image_mean, dtype=np.float32)[:, np.newaxis]
        std = np.array(self.image_std, dtype=np.float32)[:, np.newaxis]
        return np.asarray((levels - mean) / std, dtype=np.float32)
