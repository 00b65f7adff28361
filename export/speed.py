"""How much faster one way to do something is than another, both on this machine in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.types import LabelledPair

_ROUNDS = 15
_WARM_UP = 2

# Does something for the pair of this number.
Work = Callable[[int], object]


def paired_ratio(reference: Work, candidate: Work, num_pairs: int) -> float:
    """Median over rounds of the reference's time divided by the candidate's; above 1 it is faster.

    A round is one pair through both, in turns which goes first.
    """
    ratios = []
    for turn in range(_WARM_UP + _ROUNDS):
        order = (reference, candidate) if turn % 2 else (candidate, reference)
        seconds = {}
        for work in order:
            start = time.perf_counter()
            work(turn % num_pairs)
            seconds[work] = time.perf_counter() - start
        if turn >= _WARM_UP:
            ratios.append(seconds[reference] / seconds[candidate])
    return median(ratios)


def vision_ratio(reference: Engine, candidate: Engine, pairs: Sequence[LabelledPair]) -> float:
    """How many times faster the candidate's vision side is, for a test image.

    Args:
        reference: Its vision graph and its comparison are timed.
        candidate: Likewise.
        pairs: At least one.
    """
    return paired_ratio(_vision(reference, pairs), _vision(candidate, pairs), len(pairs))


def _vision(engine: Engine, pairs: Sequence[LabelledPair]) -> Work:
    """The vision side at work on a test image, everything before it done."""
    patches_of = [
        tuple(
            engine.preprocessor.patches(engine.preprocessor.resize(image))
            for image in (pair.golden, pair.test)
        )
        for pair in pairs
    ]
    goldens = [engine.encoder.encode(golden).features.copy() for golden, _ in patches_of]

    def work(number: int) -> None:
        encoded = engine.encoder.encode(patches_of[number][1])
        engine.encoder.compare(goldens[number], encoded.features)

    return work
