"""How much faster one vision side is than another, both on this machine in one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.types import LabelledPair

_ROUNDS = 15
_WARM_UP = 2


def speed_ratio(reference: Engine, candidate: Engine, pairs: Sequence[LabelledPair]) -> float:
    """Median over rounds of the reference's time for a test image, divided by the candidate's.

    A round is one image through both, in turns which goes first; above 1 the candidate is faster.

    Args:
        reference: Its vision side is timed: vision graph and comparison.
        candidate: Likewise.
        pairs: At least one.
    """
    ratios = []
    for number in range(_WARM_UP + _ROUNDS):
        pair = pairs[number % len(pairs)]
        order = (reference, candidate) if number % 2 else (candidate, reference)
        seconds = {id(engine): _time(engine, pair) for engine in order}
        if number >= _WARM_UP:
            ratios.append(seconds[id(reference)] / seconds[id(candidate)])
    return median(ratios)


def _time(engine: Engine, pair: LabelledPair) -> float:
    """Seconds of the vision side for the test image, the golden's features at hand."""
    resize, patches_of = engine.preprocessor.resize, engine.preprocessor.patches
    golden = engine.encoder.encode(patches_of(resize(pair.golden))).features.copy()
    patches = patches_of(resize(pair.test))
    start = time.perf_counter()
    encoded = engine.encoder.encode(patches)
    engine.encoder.compare(golden, encoded.features)
    return time.perf_counter() - start
