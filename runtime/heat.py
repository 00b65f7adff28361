"""The anomaly map as colours over a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

from adcopilot_edge.types import FloatArray, ImageArray

# From black over violet and orange to pale yellow: lightness rises all the way, so the order of
# two values shows in grey print too and for every kind of colour vision.
_STOPS = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
_COLOURS = np.array(
    [(8, 4, 20), (66, 12, 96), (150, 36, 98), (222, 82, 56), (252, 162, 28), (253, 252, 168)]
)

_BACKDROP = 0.45  # brightness left to the grey picture under the map, so that bright means hot
_OPACITY = 0.8  # of the value 1; the structure below must stay visible


def heat_colours(values: FloatArray) -> ImageArray:
    """Return the colour of each value: (...,) float32 in 0..1 to (..., 3) uint8 RGB."""
    channels = [np.interp(values, _STOPS, _COLOURS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def draw_heat(picture: Image.Image, anomaly_map: FloatArray) -> Image.Image:
    """Return the picture in dimmed grey with the map over it, the more opaque the higher.

    Args:
        picture: RGB, of any size; the map covers all of it.
        anomaly_map: (rows, columns) float32 in 0..1. Values between patches are interpolated.
    """
    smooth = Image.fromarray(anomaly_map.astype(np.float32)).resize(
        picture.size, Image.Resampling.BICUBIC
    )
    values = np.clip(np.asarray(smooth), 0.0, 1.0)
    opacity = (_OPACITY * np.sqrt(values))[:, :, np.newaxis]
    backdrop = _BACKDROP * np.asarray(picture.convert("L"), dtype=np.float32)[:, :, np.newaxis]
    blended = backdrop * (1.0 - opacity) + heat_colours(values) * opacity
    return Image.fromarray(blended.astype(np.uint8))
