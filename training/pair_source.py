"""Where training pairs come from when they are made on the way: pair i by its number.

Knows no source; the generator, photographs and folders of pictures are some.
"""

from __future__ import annotations

from typing import Protocol

from adcopilot_edge.types import LabelledPair


class PairSource(Protocol):
    """Endless pairs of one size, each known by a number alone, so that a run can be resumed."""

    def pair(self, number: int, *, size: int) -> LabelledPair:
        """Pair ``number`` (0 or more) with images of ``size`` by ``size`` pixels.

        The same in every process and every run; safe to call from several processes.
        """
        ...
