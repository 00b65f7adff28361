"""The pixels of a golden image, whether it was read before or comes as a picture."""

from __future__ import annotations

import numpy as np

from adcopilot_edge.errors import InputError
from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.images import ImageSource, open_image
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.types import ImageArray


def golden_picture(
    golden: GoldenReference | ImageSource, engine: Engine, clock: StageClock
) -> ImageArray:
    """Return the picture (H, W, 3) uint8 RGB of a golden image.

    Args:
        golden: What ``engine`` read before, or the image itself.
        engine: The one that goes on with it.
        clock: Gets the time of opening it.

    Raises:
        InputError: Another bundle read it, or the image can't be used.
    """
    if not isinstance(golden, GoldenReference):
        with clock.stage("golden"):
            return open_golden(golden)
    if golden.bundle != engine.id:
        raise InputError(
            f"the golden was read by the bundle {golden.bundle}, this is {engine.id}. Read it "
            "again with this inspector's golden()"
        )
    return golden.image


def open_golden(image: ImageSource) -> ImageArray:
    """Decode a golden image; an array is copied, since its owner may reuse it as a frame buffer."""
    picture = open_image(image)
    return picture.copy() if isinstance(image, np.ndarray) else picture
