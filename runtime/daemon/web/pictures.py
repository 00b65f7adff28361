"""Pictures as answers: only what a browser shows, and nothing that it could run."""

from __future__ import annotations

import io

from fastapi.responses import Response
from PIL import Image

from adcopilot_edge.runtime.images import open_image

# The picture of a record does not change any more; what people may see, a shared cache may not.
KEPT = {
    "Cache-Control": "private, max-age=86400",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"BM": "image/bmp"}


def picture_response(image: bytes) -> Response:
    """The picture as it is, or as PNG. Raises InputError when it can't be read."""
    kind = next((kind for start, kind in _TYPES.items() if image.startswith(start)), None)
    if kind is None and image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        kind = "image/webp"
    if kind is None:
        encoded = io.BytesIO()
        Image.fromarray(open_image(image)).save(encoded, format="PNG")
        image, kind = encoded.getvalue(), "image/png"
    return Response(image, media_type=kind, headers=KEPT)


def picture_size(image: bytes) -> tuple[int, int]:
    """Width and height of the upright picture in pixels. Raises InputError."""
    height, width = open_image(image).shape[:2]
    return width, height
