"""A conveyor of parts of one product: one golden image, and any number of parts seen against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcopilot_edge.training.synthetic.binary_boards import damage_layout, scan_pair
from adcopilot_edge.training.synthetic.boards import draw_layout
from adcopilot_edge.training.synthetic.canvas import MARGIN
from adcopilot_edge.training.synthetic.nuisance import CENTRED, draw_registration, take_view
from adcopilot_edge.types import ImageArray

_SIGMA_PX = 0.6
_MAX_DEFECTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ConveyorPart:
    """A part: its image (H, W, 3) uint8, and the types of its defects, none for a good one."""

    image: ImageArray
    labels: tuple[str, ...]


class Conveyor:
    """Binary boards of one layout. The same arguments always give the same pixels.

    Args:
        seed: which layout, and which parts.
        size: height and width of all images in pixels.
        bad_share: about how many of the parts have defects, 0..1.
    """

    def __init__(self, seed: int, *, size: int = 224, bad_share: float = 0.1) -> None:
        self._seed = seed
        self._size = size
        self._bad_share = bad_share
        self._layout = draw_layout(np.random.default_rng((seed, 1)), size + 2 * MARGIN)
        view = take_view(self._layout, CENTRED, size)
        self.golden: ImageArray = scan_pair(np.random.default_rng((seed, 2)), view, view, view)[0]

    def part(self, number: int) -> ConveyorPart:
        """Part ``number``, from 0."""
        rng = np.random.default_rng((self._seed, 3 + number))
        wanted = int(rng.integers(1, _MAX_DEFECTS + 1)) if rng.random() < self._bad_share else 0
        damaged, marks = damage_layout(rng, self._layout, wanted)
        view = draw_registration(rng, self._size, sigma_px=_SIGMA_PX)
        clean, seen = (take_view(item, view, self._size) for item in (self._layout, damaged))
        image = scan_pair(rng, take_view(self._layout, CENTRED, self._size), clean, seen)[1]
        return ConveyorPart(image=image, labels=tuple(mark.label for mark in marks))
