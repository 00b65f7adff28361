"""What is beyond doubt: the cell of a 3x3 grid that a box is in, which boxes are two, a size.

Knows neither labels nor texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from adcopilot_edge.training.chat_ad.facts import size_word
from adcopilot_edge.training.chat_ad.mined import DefectFacts
from adcopilot_edge.training.places import place_word
from adcopilot_edge.types import BBox

_MARGIN = 0.15
_GAP = 0.01
_MORE = 1.25

PLACES: tuple[str, ...] = tuple(
    place_word((x, y, x + 1, y + 1), height=3, width=3) for y in range(3) for x in range(3)
)
"""The nine words for places, from the upper left to the lower right."""


def is_inside_a_cell(box: BBox, size: tuple[int, int]) -> bool:
    """Whether all of a box lies in one cell, and its centre well away from the other cells.

    Args:
        box: In pixels of an image.
        size: The image's width and height.
    """
    width, height = size
    x1, y1, x2, y2 = box
    return _is_inside(x1 * 3 / width, x2 * 3 / width) and _is_inside(
        y1 * 3 / height, y2 * 3 / height
    )


def are_any_close(boxes: Sequence[BBox], size: tuple[int, int]) -> bool:
    """Whether two boxes overlap or are so near that one might count them as one."""
    gap = _GAP * max(size)
    return any(
        max(a[0], b[0]) - min(a[2], b[2]) < gap and max(a[1], b[1]) - min(a[3], b[3]) < gap
        for a, b in combinations(boxes, 2)
    )


def is_clearly_of_its_size(facts: DefectFacts | None) -> bool:
    """Whether a somewhat smaller or larger area would have the same word."""
    return facts is not None and (
        size_word(facts.area / _MORE) == facts.size == size_word(facts.area * _MORE)
    )


def _is_inside(start: float, end: float) -> bool:
    """Of one direction, in which the cells are 1 long."""
    cell = min(2, int((start + end) / 2))
    centre = (start + end) / 2 - cell
    is_before_a_border = cell < 2 and centre > 1 - _MARGIN
    is_behind_a_border = cell > 0 and centre < _MARGIN
    is_within = (cell == 0 or start >= cell) and (cell == 2 or end <= cell + 1)
    return is_within and not is_before_a_border and not is_behind_a_border
