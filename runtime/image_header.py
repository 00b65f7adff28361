"""What the start of a picture's file tells, before any pixel of it is decoded."""

from __future__ import annotations

import io

from adcopilot_edge.errors import ImageDecodeError, ImageTooLargeError
from adcopilot_edge.runtime.images import MAX_PIXELS, check_pixels, decoder_errors, open_header


def check_header(
    content: bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int | None = None
) -> None:
    """Look at the start of a picture's file, and decode none of its pixels.

    Args:
        content: The bytes of a file.
        max_pixels: Refuse a larger picture.
        max_bytes: Refuse a larger file; None is no limit.

    Raises:
        ImageDecodeError: It is empty or no picture of a known format, as an archive is.
        ImageTooLargeError: It has more pixels, or more bytes, than may be.
    """
    name = f"the image of {len(content)} bytes"
    if max_bytes is not None and len(content) > max_bytes:
        raise ImageTooLargeError(
            f"{name} is larger than the limit of {max_bytes:,} bytes. Crop it, scale it down, or "
            "compress it"
        )
    if not content:
        raise ImageDecodeError(f"{name} is empty. Capture or copy it again")
    with decoder_errors(name), open_header(io.BytesIO(content)) as image:
        check_pixels(image.height, image.width, name, max_pixels)
