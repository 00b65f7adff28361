"""The anomaly map of a part on disk, beside its image, and as a picture to lay over the image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from adcopilot_edge.runtime.heat import heat_colours
from adcopilot_edge.types import FloatArray

SUFFIX = ".map.png"
_REGION = "region"
_OPACITY = 0.8  # of the value 1, as ``draw_heat`` has it
_LONGEST = 512  # pixels of the picture to lay over; the page stretches it

Region = tuple[int, int, int, int]


def map_path(image: Path) -> Path:
    """Where the map of an image is kept."""
    return image.with_name(image.name + SUFFIX)


def map_file(anomaly_map: FloatArray, region: Region | None) -> bytes:
    """A map as the file that is kept: a grey PNG with a pixel for each value.

    Args:
        anomaly_map: (rows, columns) float32 in 0..1.
        region: What it covers, (x1, y1, x2, y2) in pixels of the image; None is all of it.
    """
    grey = Image.fromarray(np.round(255 * np.clip(anomaly_map, 0, 1)).astype(np.uint8))
    about = PngImagePlugin.PngInfo()
    if region is not None:
        about.add_text(_REGION, " ".join(map(str, region)))
    encoded = io.BytesIO()
    grey.save(encoded, format="PNG", pnginfo=about, compress_level=1)
    return encoded.getvalue()


def heat_picture(path: Path, width: int, height: int) -> bytes:
    """A map as a PNG with transparency, to be stretched over an image.

    Args:
        path: Of what ``map_file`` made.
        width: Of the image, in pixels.
        height: Of the image.

    Raises:
        OSError: There is no such file, or it is damaged.
    """
    with Image.open(path, formats=("PNG",)) as grey:
        grey.load()
        told = getattr(grey, "text", {}).get(_REGION)
        values = np.asarray(grey.convert("L"), dtype=np.float32) / 255
    scale = min(1.0, _LONGEST / max(width, height))
    region = (0, 0, width, height) if told is None else tuple(map(int, told.split()))
    x1, y1, x2, y2 = (round(scale * corner) for corner in region)
    smooth = Image.fromarray(values).resize(
        (max(1, x2 - x1), max(1, y2 - y1)), Image.Resampling.BILINEAR
    )
    heat = np.clip(np.asarray(smooth), 0, 1)
    alpha = np.round(255 * _OPACITY * np.sqrt(heat)).astype(np.uint8)
    coloured = Image.fromarray(np.dstack([heat_colours(heat), alpha]))
    whole = Image.new("RGBA", (max(1, round(scale * width)), max(1, round(scale * height))))
    whole.paste(coloured, (x1, y1))
    encoded = io.BytesIO()
    whole.save(encoded, format="PNG")
    return encoded.getvalue()
