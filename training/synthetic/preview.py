"""Contact sheets of synthetic pairs, for people."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from adcopilot_edge.training.pair_sheet import draw_pairs
from adcopilot_edge.training.synthetic.generator import generate_pair


def contact_sheet(
    seeds: Sequence[int], *, size: int = 224, columns: int = 3, surface: str | None = None
) -> Image.Image:
    """A grid of the pairs of ``seeds``, as ``draw_pairs`` draws them.

    Args:
        seeds: one pair each, row by row.
        size: side of one image in pixels.
        columns: pairs a row.
        surface: one of ``SURFACES``, or any.
    """
    return draw_pairs(
        (generate_pair(seed, size=size, surface=surface).to_labelled() for seed in seeds),
        columns=columns,
    )
