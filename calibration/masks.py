"""The true boxes of a pair, from its boxes or from a mask of the defective pixels."""

from __future__ import annotations

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.regions import connected_boxes
from adcopilot_edge.runtime.images import check_same_aspect, open_image
from adcopilot_edge.runtime.pair_folder import PairFile
from adcopilot_edge.types import BBox


def true_boxes(pair: PairFile, height: int, width: int) -> tuple[BBox, ...] | None:
    """The boxes of the defects in pixels of the test image; None where they are not known.

    Of a mask every pixel counts that is not black, so that masks whose values are numbers or
    colours of types are read too, and there is one box around each connected region, however
    small. A mask of another size is scaled.

    Args:
        pair: Where the truth is.
        height: Rows of the test image.
        width: Columns of it.

    Raises:
        DatasetError: The mask is black.
        InputError: The mask can't be read, or has other proportions than the image.
    """
    if pair.mask is None:
        return pair.boxes
    pixels = open_image(pair.mask)
    check_same_aspect(pixels.shape, (height, width))
    boxes = connected_boxes(pixels.max(axis=2) > 0, min_area=1)
    if not boxes:
        raise DatasetError(
            f"the mask {pair.mask} of {pair.name} is black: it shows no defect. If the part is "
            "good, leave the mask out"
        )
    across, down = width / pixels.shape[1], height / pixels.shape[0]
    return tuple((x1 * across, y1 * down, x2 * across, y2 * down) for x1, y1, x2, y2 in boxes)
