"""Images of every kind to (H, W, 3) uint8 RGB, and the checks that need no model.

This module decodes files and evens out pixel formats. It knows nothing of patches, of
normalisation, or of the size a model wants: that is :mod:`adcopilot_edge.runtime.preprocess`.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

# Pillow's own list of formats imports only some plugins; a plugin is registered by its import.
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from adcopilot_edge.errors import (
    AspectMismatchError,
    ImageDecodeError,
    ImageNotFoundError,
    ImageTooLargeError,
    InputError,
)
from adcopilot_edge.types import ImageArray

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]

MAX_PIXELS = 120_000_000  # 360 MB as RGB; inspection cameras have 5 to 65 million

# How files in the formats below are called, in lower case.
PICTURE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

_EXIF_ORIENTATION = 0x0112

# Formats a camera or an inspection archive writes. The others of Pillow stay out on purpose: each
# is one more parser in reach of a hostile file, and EPS would start Ghostscript.
_FORMATS = (
    PngImagePlugin.PngImageFile.format,
    JpegImagePlugin.JpegImageFile.format,
    TiffImagePlugin.TiffImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    PpmImagePlugin.PpmImageFile.format,
    GifImagePlugin.GifImageFile.format,
)

# What Pillow's decoders let escape when a file is damaged, beside its own UnidentifiedImageError.
_DECODER_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
)


def open_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> ImageArray:
    """Return the picture as (H, W, 3) uint8 RGB, upright.

    Every pixel format gives what ``transformers.image_transforms.convert_to_rgb`` (5.x) gives,
    apart from deep grey, which that function would clip to white:

    - EXIF orientation is applied.
    - Grey, 1-bit, palette, CMYK, YCbCr: Pillow's ``convert("RGB")``.
    - Transparency (RGBA, LA, a palette or key colour with alpha) is composited onto white.
    - 16-bit grey is scaled by 1/257 and rounded, so that 65535 becomes 255. A camera with 10 or
      12 bits must fill the 16 (shift left by 6 or 4), or its pictures are dark.
    - 16-bit colour keeps the high byte of each channel (Pillow decodes it so).
    - Float grey must lie in 0..1 and is scaled by 255.
    - Of a file with several frames or pages, the first counts.

    Args:
        source: A path, the bytes of a file, a Pillow image, or an array of shape (H, W),
            (H, W, 3) RGB or (H, W, 4) RGBA, uint8.
        max_pixels: Refuse a larger picture. Files are measured by their header, before any pixel
            is decoded.

    Returns:
        A C-contiguous array, to be read only: an RGB array given as ``source`` is not copied.

    Raises:
        ImageNotFoundError: The path does not exist or is a directory.
        ImageDecodeError: The file is empty, truncated or no image of a known format, or the array
            has another dtype or shape.
        ImageTooLargeError: The picture has more than ``max_pixels`` pixels.
        InputError: The file exists but can't be read, for example for lack of permission.
    """
    return np.asarray(_open(source, max_pixels))


def open_raster(source: ImageSource) -> Image.Image:
    """Return the same picture as Pillow's RGB image, which scales without a conversion.

    A Pillow image of mode RGB is not copied. Raises as ``open_image`` does.
    """
    picture = _open(source, MAX_PIXELS)
    return picture if isinstance(picture, Image.Image) else Image.fromarray(picture)


def _open(source: ImageSource, max_pixels: int) -> ImageArray | Image.Image:
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        with decoder_errors("the Pillow image"):
            return _from_pillow(source, "the Pillow image", max_pixels)
    if isinstance(source, bytes):
        return _from_stream(io.BytesIO(source), f"the image of {len(source)} bytes", max_pixels)
    return _from_path(Path(source), max_pixels)


def list_pictures(folder: Path) -> list[Path]:
    """The files in ``folder`` that are called like pictures, by name; none where it is missing."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)


def check_same_aspect(
    golden_shape: Sequence[int], test_shape: Sequence[int], *, tolerance: float = 0.02
) -> None:
    """Raise unless both pictures have the same proportions.

    Args:
        golden_shape: (H, W) or (H, W, channels) of the golden image.
        test_shape: The same of the test image.
        tolerance: Largest relative difference of the two width-to-height ratios; 0.02 lets
            through the rounding of a resize, not another camera.

    Raises:
        AspectMismatchError: The ratios differ by more.
    """
    golden_height, golden_width = golden_shape[:2]
    test_height, test_width = test_shape[:2]
    ratio = (golden_width * test_height) / (golden_height * test_width)
    difference = max(ratio, 1 / ratio) - 1
    if difference > tolerance:
        raise AspectMismatchError(
            f"the golden image is {golden_width}x{golden_height} and the test image "
            f"{test_width}x{test_height} pixels: their proportions differ by "
            f"{100 * difference:.1f} %, allowed are {100 * tolerance:.1f} %. "
            "Take both with the same camera settings, or crop them to the same view"
        )


def _from_path(path: Path, max_pixels: int) -> ImageArray | Image.Image:
    """Decode the file at ``path``."""
    if path.is_dir():
        raise ImageNotFoundError(f"{path} is a directory, not an image. Give the path of a file")
    try:
        stream = path.open("rb")
    except FileNotFoundError as err:
        raise ImageNotFoundError(f"there is no file {path.absolute()}. Check the path") from err
    except (OSError, ValueError) as err:
        raise InputError(f"can't read {path}: {err}. Check the permissions") from err
    with stream:
        return _from_stream(stream, str(path), max_pixels)


def _from_stream(stream: BinaryIO, name: str, max_pixels: int) -> ImageArray | Image.Image:
    """Decode an open file; ``name`` is what messages call it."""
    if not stream.read(1):
        raise ImageDecodeError(f"{name} is empty (0 bytes). Capture or copy it again")
    stream.seek(0)
    with decoder_errors(name), open_header(stream) as image:
        return _from_pillow(image, name, max_pixels)


def open_header(stream: BinaryIO) -> Image.Image:
    """Parse the header only, without Pillow's warning: the limit of this module decides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(stream, formats=_FORMATS)


@contextmanager
def decoder_errors(name: str) -> Iterator[None]:
    """Turn what Pillow raises into this project's errors."""
    try:
        yield
    except InputError:
        raise
    except Image.DecompressionBombError as err:
        raise ImageTooLargeError(f"{name}: {err}. Crop it, or scale it down") from err
    except UnidentifiedImageError as err:
        raise ImageDecodeError(
            f"{name} is no image of a known format ({', '.join(_FORMATS)}). "
            "Check that the file holds what its name says"
        ) from err
    except _DECODER_ERRORS as err:
        raise ImageDecodeError(
            f"{name} can't be decoded: {err}. It is damaged or was cut short; "
            "capture or copy it again"
        ) from err


def _from_pillow(image: Image.Image, name: str, max_pixels: int) -> ImageArray | Image.Image:
    """Check the size of a lazily opened or loaded image, then turn it upright and to RGB."""
    check_pixels(image.height, image.width, name, max_pixels)
    upright = _upright(image)
    if upright.mode.startswith("I"):
        return _grey_to_rgb(_sixteen_to_eight(np.asarray(upright), name))
    if upright.mode == "F":
        return _grey_to_rgb(_unit_to_eight(np.asarray(upright), name))
    if "A" in upright.getbands() or upright.info.get("transparency") is not None:
        white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
        upright = Image.alpha_composite(white, upright.convert("RGBA"))
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; an image that has none is not copied."""
    image.load()  # PNG may carry its EXIF after the pixels
    if image.getexif().get(_EXIF_ORIENTATION, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _from_array(array: NDArray[np.uint8], max_pixels: int) -> ImageArray | Image.Image:
    """Check an array and bring it to three channels."""
    name = f"the array of shape {array.shape} and dtype {array.dtype}"
    is_grey = array.ndim == 2
    is_colour = array.ndim == 3 and array.shape[2] in {3, 4}
    if array.dtype != np.uint8 or not (is_grey or is_colour) or array.size == 0:
        raise ImageDecodeError(
            f"{name} is no picture: expected uint8 of shape (H, W), (H, W, 3) RGB or "
            "(H, W, 4) RGBA. Scale deeper data to 0..255 and convert it"
        )
    check_pixels(array.shape[0], array.shape[1], name, max_pixels)
    if is_grey:
        return _grey_to_rgb(array)
    if array.shape[2] == 3:
        return np.ascontiguousarray(array)
    return _from_pillow(Image.fromarray(array), name, max_pixels)


def check_pixels(height: int, width: int, name: str, max_pixels: int) -> None:
    """Raise ImageTooLargeError above the limit."""
    if height * width > max_pixels:
        raise ImageTooLargeError(
            f"{name} has {width}x{height} = {height * width:,} pixels, more than the limit of "
            f"{max_pixels:,} that guards memory. Crop it, or scale it down"
        )


def _grey_to_rgb(grey: NDArray[np.uint8]) -> ImageArray:
    """Repeat (H, W) uint8 into three channels."""
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


def _sixteen_to_eight(grey: NDArray[np.integer], name: str) -> NDArray[np.uint8]:
    """Scale integers of 0..65535 to 0..255, rounded; 65535 = 255 * 257, so both ends are exact."""
    low, high = int(grey.min()), int(grey.max())
    if low < 0 or high > 65535:
        raise ImageDecodeError(
            f"{name} is 32-bit grey with values {low}..{high}, whose full scale is unknown. "
            "Save it with 8 or 16 bits"
        )
    return ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _unit_to_eight(grey: NDArray[np.float32], name: str) -> NDArray[np.uint8]:
    """Scale floats of 0..1 to 0..255, rounded; NaN fails the range check."""
    low, high = float(grey.min()), float(grey.max())
    if not (low >= 0.0 and high <= 1.0):
        raise ImageDecodeError(
            f"{name} is float grey with values {low:g}..{high:g}, expected 0..1. "
            "Scale it, or save it with 8 or 16 bits"
        )
    return (grey * np.float32(255) + np.float32(0.5)).astype(np.uint8)
