"""What a surface hands over: a clean golden, a clean test, and the pixels of each defect.

Clean means as drawn, on the canvas, before registration, optics and sensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from adcopilot_edge.training.synthetic.canvas import MARGIN
from adcopilot_edge.types import MaskArray

MIN_AREA = 16
"""Fewest changed pixels that count as a defect."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A defect on the canvas: its class name and its pixels, (E, E) bool."""

    label: str
    mask: MaskArray


@dataclass(frozen=True, slots=True)
class Drawing:
    """Golden and test of one product, equal in size, mode ``L`` (layout) or ``RGB``."""

    golden: Image.Image
    test: Image.Image
    marks: tuple[Mark, ...] = ()


def visible_area(mask: MaskArray) -> int:
    """How many pixels of ``mask`` (E, E) every view of the canvas shows."""
    inset = MARGIN + 4
    return int(np.count_nonzero(mask[inset:-inset, inset:-inset]))


def is_clear(mask: MaskArray, marks: list[Mark], *, spacing: int = 8) -> bool:
    """True when the pixels of ``mask`` keep ``spacing`` pixels from the box of every mark."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return False
    top, bottom = max(0, rows[0] - spacing), rows[-1] + 1 + spacing
    left, right = max(0, columns[0] - spacing), columns[-1] + 1 + spacing
    return not any(mark.mask[top:bottom, left:right].any() for mark in marks)
