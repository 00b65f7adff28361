"""What tells that two pictures are one: a hash of the pixels, and one of what a person sees.

Knows nothing of categories, truth or how alike is too alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adcopilot_edge.runtime.golden import pixel_hash
from adcopilot_edge.runtime.images import open_raster

NUM_BITS = 256
_SIDE = 16  # 16 x 16 frequencies, one bit each


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of one picture.

    pixels: SHA-256 over size and upright RGB pixels, in hex: equal for a PNG and its BMP. look:
    256 bits in hex. Saved again as JPEG, at half the size, with noise or other brightness, a
    picture keeps its look but for a few bits.
    """

    pixels: str
    look: str

    @property
    def bits(self) -> int:
        """``look`` as a number."""
        return int(self.look, 16)


def take_fingerprint(path: Path) -> Fingerprint:
    """The fingerprint of a picture.

    Raises:
        InputError: It can't be read.
    """
    picture = open_raster(path)
    return Fingerprint(pixel_hash(np.asarray(picture)), hash_look(picture))


def hash_look(picture: Image.Image) -> str:
    """Imagehash's ``phash``: the signs of low frequencies of the grey picture about their median.

    Its 64 bits do not tell boards of one design apart; 256 do.
    """
    import imagehash

    return str(imagehash.phash(picture, hash_size=_SIDE))


def distance(first: int, second: int) -> int:
    """In how many of 256 bits two looks differ."""
    return (first ^ second).bit_count()
