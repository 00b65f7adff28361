"""Synthetic defects on a good part of the user: the map learns the user's own surface from them.

Half are the painted ones of the generator's surfaces, half the edits of change pairs. Knows no
files.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from adcopilot_edge.training.changes.edits import CHANGE_LABELS, Donor, edit_once
from adcopilot_edge.training.synthetic.drawing import Mark, is_clear
from adcopilot_edge.training.synthetic.records import SURFACE_LABELS
from adcopilot_edge.training.synthetic.surface_defects import paint_surface_defect

_COUNTS = (0.65, 0.25, 0.10)
_TRIES = 12


def paint_defects(
    rng: np.random.Generator, canvas: Image.Image, donor: Donor
) -> tuple[Image.Image, list[Mark]]:
    """``canvas`` with one to three defects that can be seen, and their marks.

    There are fewer, or none, where twelve tries for each showed nothing.

    Args:
        rng: the source of randomness.
        canvas: mode ``RGB``, square, with the generator's margin.
        donor: what objects are added from.
    """
    marks: list[Mark] = []
    for _ in range(int(rng.choice(len(_COUNTS), p=_COUNTS)) + 1):
        for _ in range(_TRIES):
            painted = _paint_once(rng, canvas, donor)
            if painted is not None and all(is_clear(mark.mask, marks) for mark in painted[1]):
                canvas = painted[0]
                marks += painted[1]
                break
    return canvas, marks


def _paint_once(
    rng: np.random.Generator, canvas: Image.Image, donor: Donor
) -> tuple[Image.Image, list[Mark]] | None:
    if rng.random() < 0.5:
        label = SURFACE_LABELS[int(rng.integers(len(SURFACE_LABELS)))]
        painted = paint_surface_defect(rng, canvas, label)
        return None if painted is None else (painted[0], [painted[1]])
    label = CHANGE_LABELS[int(rng.integers(len(CHANGE_LABELS)))]
    return edit_once(rng, canvas, donor, label)
