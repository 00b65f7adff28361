"""Binary boards: black copper on white, as a thresholding inspection camera delivers them."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from adcopilot_edge.training.synthetic.board_defects import draw_board_defect
from adcopilot_edge.training.synthetic.boards import draw_layout
from adcopilot_edge.training.synthetic.canvas import smooth_noise
from adcopilot_edge.training.synthetic.drawing import (
    MIN_AREA,
    Drawing,
    Mark,
    is_clear,
    visible_area,
)
from adcopilot_edge.training.synthetic.records import BOARD_LABELS
from adcopilot_edge.types import ImageArray, MaskArray

_MAX_AREA = 1600
_MAX_WEAR = 100.0
"""Grey levels of wear at an edge; below 127, so that flat areas stay free of specks."""


def draw_binary_board(rng: np.random.Generator, extent: int, num_defects: int) -> Drawing:
    """A layout and its damaged twin, both mode ``L``; fewer defects where the board has no room."""
    layout = draw_layout(rng, extent)
    damaged, marks = damage_layout(rng, layout, num_defects)
    return Drawing(layout, damaged, tuple(marks))


def damage_layout(
    rng: np.random.Generator, layout: Image.Image, num_defects: int
) -> tuple[Image.Image, list[Mark]]:
    """``layout`` with up to ``num_defects`` separate defects, and the pixels of each."""
    damaged, marks = layout, list[Mark]()
    for _ in range(num_defects * 4):
        if len(marks) == num_defects:
            break
        label = BOARD_LABELS[int(rng.integers(len(BOARD_LABELS)))]
        candidate = draw_board_defect(rng, damaged, label)
        if candidate is None:
            continue
        mask = (np.asarray(candidate) > 127) != (np.asarray(damaged) > 127)
        if MIN_AREA <= visible_area(mask) <= _MAX_AREA and is_clear(mask, marks):
            damaged = candidate
            marks.append(Mark(label, mask))
    return damaged, marks


def etch(rng: np.random.Generator, layout: Image.Image) -> MaskArray:
    """The copper of a mode ``L`` view (H, W) with the ragged, wandering edges of a real scan."""
    width, height = layout.size
    blurred = layout.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.7, 1.2))))
    level = np.asarray(blurred, dtype=np.float32)
    ragged = smooth_noise(rng, height, width, 2.0) * np.float32(rng.uniform(12.0, 46.0))
    ragged += smooth_noise(rng, height, width, 18.0) * np.float32(rng.uniform(6.0, 26.0))
    ragged += np.float32(rng.normal(0.0, 10.0))
    return level + np.clip(ragged, -_MAX_WEAR, _MAX_WEAR) > np.float32(127.0)


def scan_pair(
    rng: np.random.Generator, golden: Image.Image, clean: Image.Image, damaged: Image.Image
) -> tuple[ImageArray, ImageArray]:
    """Golden and test scan, (H, W, 3) uint8, of three mode ``L`` views.

    Half of the tests are etched with their defects; in the others the defects keep sharp edges.

    Args:
        rng: the source of randomness.
        golden: the layout as the golden's camera sees it.
        clean: the layout without defects as the test's camera sees it.
        damaged: the same with defects.
    """
    first = etch(rng, golden)
    if rng.random() < 0.5:
        second = etch(rng, damaged)
    else:
        copper = np.asarray(damaged) > 127
        changed = copper != (np.asarray(clean) > 127)
        second = np.where(changed, copper, etch(rng, clean))
    return _paint(first), _paint(second)


def _paint(copper: MaskArray) -> ImageArray:
    """Black copper on white: (H, W) bool -> (H, W, 3) uint8."""
    grey = np.where(copper, np.uint8(0), np.uint8(255))
    return np.repeat(grey[:, :, None], 3, axis=2)
