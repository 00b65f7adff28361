"""The order in which a stage sees its samples: as they are, or with like lengths in a batch.

The order depends on lengths, batch size and seed alone, never on how far a run is or on how many
devices it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

_BATCHES_A_WINDOW = 50


@dataclass(frozen=True, slots=True)
class LengthGroupedOrder(Sampler[int]):
    """Samples in batches of about one length.

    Inside windows of 50 batches samples are sorted by their length and cut into batches, and the
    batches of a window come in an order of its own. count: samples in all, length: of the sample at
    an index, asked when its window begins.
    """

    count: int
    batch_size: int
    seed: int
    length: Callable[[int], int]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        window = _BATCHES_A_WINDOW * self.batch_size
        for number, start in enumerate(range(0, self.count, window)):
            indices = np.arange(start, min(start + window, self.count))
            lengths = np.array([self.length(int(index)) for index in indices])
            ordered = indices[np.argsort(-lengths, kind="stable")]
            # The last batch of a stage may be cut short, and has to stay the last.
            whole = len(ordered) // self.batch_size
            batches = ordered[: whole * self.batch_size].reshape(whole, self.batch_size)
            mixed = np.random.default_rng([self.seed, number]).permutation(whole)
            yield from batches[mixed].flatten().tolist()
            yield from ordered[whole * self.batch_size :].tolist()
