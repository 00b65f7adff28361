"""Sources mixed by weights: which sample of which source stands at a place, by the place alone.

Knows numbers only. Every source is gone through in order, a finite one pass by pass in an order of
its own for each, so that a run can go on at any sample in any process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.types import IntArray

_BLOCK = 1000
"""Samples in which the shares of the sources hold exactly, to 1 in 1000."""


@dataclass(slots=True)
class Mixture:
    """The order of the samples of several sources.

    weights: shares of the samples, in any unit. sizes: how many samples each source has, None for
    one without an end. Cheap to ask in order; anywhere else it costs one permutation.
    """

    weights: Sequence[float]
    sizes: Sequence[int | None]
    seed: int
    _counts: list[int] = field(init=False)
    _blocks: dict[int, IntArray] = field(init=False, default_factory=dict)
    _passes: dict[int, tuple[int, IntArray]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.weights or len(self.weights) != len(self.sizes):
            raise ConfigError("a mixture needs a weight and a size for each of its sources")
        if empty := [number for number, size in enumerate(self.sizes) if size == 0]:
            raise ConfigError(f"source {empty[0] + 1} of the data holds no samples")
        self._counts = _shares(self.weights)

    def place(self, index: int) -> tuple[int, int]:
        """The source at ``index``, and the number of the sample in it."""
        block, offset = divmod(index, _BLOCK)
        pattern = self._pattern(block)
        source = int(pattern[offset])
        before = block * self._counts[source] + int((pattern[:offset] == source).sum())
        size = self.sizes[source]
        if size is None:
            return source, before
        number, rest = divmod(before, size)
        return source, int(self._order(source, number, size)[rest])

    def num_steps(self, epochs: float, batch_size: int) -> int:
        """Steps of ``batch_size`` samples that go through the first source ``epochs`` times.

        At least one. Raises ConfigError when it has no end.
        """
        size = self.sizes[0]
        if size is None:
            raise ConfigError(
                "epochs are passes over a stage's first source, and this one makes its pairs "
                "without end; give it a count, or the stage its steps"
            )
        samples = math.ceil(epochs * size * _BLOCK / self._counts[0])
        return max(1, math.ceil(samples / batch_size))

    def _pattern(self, block: int) -> IntArray:
        """The sources of the ``_BLOCK`` samples of a block, in an order of its own."""
        if block not in self._blocks:
            order = np.repeat(np.arange(len(self._counts)), self._counts)
            random_order = np.random.default_rng([self.seed, 0, block]).permutation(order)
            self._blocks = {block: random_order}
        return self._blocks[block]

    def _order(self, source: int, number: int, size: int) -> IntArray:
        """The order of a finite source in its pass ``number``."""
        known = self._passes.get(source)
        if known is None or known[0] != number:
            order = np.random.default_rng([self.seed, 1 + source, number]).permutation(size)
            known = self._passes[source] = (number, order)
        return known[1]


def _shares(weights: Sequence[float]) -> list[int]:
    """How many of ``_BLOCK`` samples each source has: at least one, the largest what is left."""
    counts = [max(1, round(_BLOCK * weight / sum(weights))) for weight in weights]
    counts[counts.index(max(counts))] += _BLOCK - sum(counts)
    return counts
