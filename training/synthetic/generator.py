"""One seed in, one pair out: chooses a surface, has it drawn, and takes the two images."""

from __future__ import annotations

import itertools

import numpy as np

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.synthetic.binary_boards import scan_pair
from adcopilot_edge.training.synthetic.canvas import MARGIN
from adcopilot_edge.training.synthetic.nuisance import (
    CENTRED,
    draw_registration,
    photograph,
    take_view,
)
from adcopilot_edge.training.synthetic.records import SyntheticPair
from adcopilot_edge.training.synthetic.surfaces import (
    BINARY_BOARD,
    COLOUR_BOARD,
    DRAW_SURFACE,
    SURFACE_SHARES,
    SURFACES,
)
from adcopilot_edge.training.synthetic.truth import find_defects, index_marks
from adcopilot_edge.types import ImageArray

MIN_SIZE = 112
_BOARD_COUNTS = (0.40, 0.28, 0.16, 0.08, 0.05, 0.03)
_MOST_DEFECTS = len(_BOARD_COUNTS)
_OTHER_COUNTS = (0.62, 0.25, 0.09, 0.04)


def generate_pair(
    seed: int,
    *,
    size: int = 224,
    surface: str | None = None,
    num_defects: tuple[int, int] | None = None,
) -> SyntheticPair:
    """The golden and test image that ``seed`` stands for; half of all seeds have no defect.

    The same arguments always give the same pixels.

    Args:
        seed: any integer that is not negative.
        size: height and width of both images in pixels.
        surface: one of ``SURFACES``; without it nearly half of the pairs are binary boards.
        num_defects: the fewest and the most, each number between as often; without it half of the
            pairs are good. Where not all find room a pair has fewer, but at least one.

    Raises:
        ConfigError: the seed, size, surface or number of defects is out of range.
    """
    _check(seed, size, surface, num_defects)
    rng = np.random.default_rng(seed)
    is_defective = bool(rng.random() < 0.5)
    chosen = SURFACES[int(rng.choice(len(SURFACES), p=SURFACE_SHARES))]
    name = surface if surface is not None else chosen
    counts = _BOARD_COUNTS if name in (BINARY_BOARD, COLOUR_BOARD) else _OTHER_COUNTS
    planned = int(rng.choice(len(counts), p=counts)) + 1 if is_defective else 0
    if num_defects is not None:
        planned = int(rng.integers(num_defects[0], num_defects[1] + 1))
    for attempt in itertools.count():
        pair = _attempt(np.random.default_rng((seed, 1 + attempt)), name, size, planned, seed)
        if pair is not None:
            return pair
    raise AssertionError("unreachable")


def _check(seed: int, size: int, surface: str | None, num_defects: tuple[int, int] | None) -> None:
    if seed < 0:
        raise ConfigError(f"the seed of a synthetic pair must not be negative, got {seed}")
    if size < MIN_SIZE:
        raise ConfigError(f"a synthetic pair must have size >= {MIN_SIZE} pixels, got {size}")
    if surface is not None and surface not in DRAW_SURFACE:
        raise ConfigError(f"unknown surface {surface!r}; known are: {', '.join(SURFACES)}")
    if num_defects is not None:
        check_num_defects(num_defects)


def check_num_defects(num_defects: tuple[int, int]) -> None:
    """Raise ConfigError where it is no range that a pair can have."""
    fewest, most = num_defects
    if not 0 <= fewest <= most <= _MOST_DEFECTS:
        raise ConfigError(
            "num_defects is the fewest and the most defects of a pair, within 0 to "
            f"{_MOST_DEFECTS}, got {fewest} and {most}"
        )


def _attempt(
    rng: np.random.Generator, surface: str, size: int, num_defects: int, seed: int
) -> SyntheticPair | None:
    """A pair, or None when defects were asked for and none fits or stays visible."""
    is_binary = surface == BINARY_BOARD
    drawing = DRAW_SURFACE[surface](rng, size + 2 * MARGIN, num_defects)
    if num_defects and not drawing.marks:
        return None
    view = draw_registration(rng, size, sigma_px=0.6 if is_binary else 0.5)
    index = take_view(index_marks(drawing.marks, drawing.test.size), view, size, is_index=True)
    found = find_defects(rng, drawing.marks, np.asarray(index))
    if found is None:
        return None
    defects, mask = found
    golden = take_view(drawing.golden, CENTRED, size)
    test = take_view(drawing.test, view, size)
    images: tuple[ImageArray, ImageArray]
    if is_binary:
        images = scan_pair(rng, golden, take_view(drawing.golden, view, size), test)
    else:
        strength = float(rng.uniform(0.1, 1.0))
        images = photograph(rng, golden, strength), photograph(rng, test, strength)
    return SyntheticPair(
        golden=images[0], test=images[1], mask=mask, defects=defects, surface=surface, seed=seed
    )
