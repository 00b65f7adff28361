"""Where a box lies in an image, in words. Knows nothing of defects."""

from __future__ import annotations

from adcopilot_edge.types import BBox

_ROWS = ("upper", "middle", "lower")
_COLUMNS = ("left", "centre", "right")


def place_word(box: BBox, *, height: int, width: int) -> str:
    """Where a box's centre lies on a 3x3 grid, as ``upper left`` or ``centre``.

    Args:
        box: In pixels of an image.
        height: Rows of the image.
        width: Columns of it.
    """
    x1, y1, x2, y2 = box
    row = _ROWS[min(2, int((y1 + y2) / 2 * 3 / height))]
    column = _COLUMNS[min(2, int((x1 + x2) / 2 * 3 / width))]
    return "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"
