"""Pictures as a teacher gets them: scaled down, JPEG, base64. Knows no pair."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from adcopilot_edge.bundle import hash_file
from adcopilot_edge.errors import ImageNotFoundError, InputError
from adcopilot_edge.runtime.images import open_raster


def picture_url(path: Path, *, side: int, quality: int) -> str:
    """The picture as a ``data:`` address.

    Args:
        path: The picture; upright, as ``open_raster`` gives it.
        side: Of the longer side, in pixels; a smaller picture keeps its size.
        quality: Of the JPEG, 1..95.

    Raises:
        InputError: It can't be read.
    """
    picture = open_raster(path)
    scale = side / max(picture.size)
    if scale < 1:
        width, height = (max(1, round(length * scale)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def content_hash(path: Path) -> str:
    """The hash of a file's bytes, which no decoding is needed for.

    Raises:
        InputError: It can't be read.
    """
    try:
        return hash_file(path)
    except FileNotFoundError as err:
        raise ImageNotFoundError(f"there is no file {path}. Check the path") from err
    except OSError as err:
        raise InputError(f"can't read {path}: {err}. Check the permissions") from err
