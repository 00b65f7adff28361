"""Where training pairs come from when they are made on the way: pair i by its number.

Knows no source; the generator, photographs and folders of pictures are some.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.types import LabelledPair

_MOST_TRIES = 300


class PairSource(Protocol):
    """Endless pairs of one size, each known by a number alone, so that a run can be resumed."""

    def pair(self, number: int, *, size: int) -> LabelledPair:
        """Pair ``number`` (0 or more) with images of ``size`` by ``size`` pixels.

        The same in every process and every run; safe to call from several processes.
        """
        ...


def make_pair(
    attempt: Callable[[np.random.Generator], LabelledPair | None],
    seed: int,
    number: int,
    *,
    what: str,
) -> LabelledPair:
    """The first pair that an attempt gives, each with a randomness of its own.

    what: the source, for the error. Raises DatasetError when none of many attempts gives one.
    """
    for tries in range(1, _MOST_TRIES + 1):
        pair = attempt(np.random.default_rng((seed, number, tries)))
        if pair is not None:
            return pair
    raise DatasetError(
        f"{what}: {_MOST_TRIES} attempts at pair {number} showed no defect; raise image_size, or "
        "leave out the pictures in which nothing can be seen or changed"
    )


def check_made(what: str, number: int, *, size: int, smallest: int) -> None:
    """Raise ConfigError for the number or the size of a pair that can't be made."""
    if number < 0 or size < smallest:
        raise ConfigError(
            f"{what} needs a number >= 0 and size >= {smallest} pixels, got {number} and {size}"
        )
