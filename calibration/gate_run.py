"""Runs a gate: each bundle asked about the held-out pairs once, and what it said judged.

What a reference said may be kept and held against many candidates.
"""

from __future__ import annotations

import numpy as np

from adcopilot_edge.calibration.evaluate import Predictions, predict
from adcopilot_edge.calibration.gate_figures import check_enough, judge
from adcopilot_edge.calibration.gates import GateLimits, GateReport
from adcopilot_edge.calibration.held_out import HeldOut, check_unseen, take_both_kinds
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.types import OnStep

NUM_ANSWERS = 20
"""On how many pairs the answers in words are compared, unless told otherwise: they are slow."""


def run_gate(
    candidate: Inspector,
    reference: Inspector | Predictions,
    held_out: HeldOut,
    limits: GateLimits,
    *,
    seed: int = 0,
    num_answers: int = NUM_ANSWERS,
    on_step: OnStep = lambda step, done, total: None,
) -> GateReport:
    """Ask both bundles about ``held_out`` and hold the candidate against the reference.

    Args:
        candidate: The quantized bundle, opened with ``calibrated=False``.
        reference: The float bundle, opened likewise, or what ``ask`` got from it with the same
            pairs, seed and number of answers.
        held_out: Pairs that the candidate was not calibrated on.
        limits: What may be lost.
        seed: Of the pairs that are asked about in words, and of the intervals.
        num_answers: How many these are; 0 asks none.
        on_step: Told after each pair, by the steps "reference" and "candidate".

    Raises:
        ConfigError: The bundles are not of one image size, or were asked different things.
        DatasetError: The candidate was calibrated on some of the pairs.
        InputError: A picture can't be read.
        SessionError: A graph fails.
        TooFewSamplesError: There are fewer pairs than the limits ask for, or none of one kind.
    """
    check_enough(held_out, limits)
    check_unseen(held_out, candidate.engine.bundle)
    if isinstance(reference, Inspector):
        image_size(candidate, reference)
        reference = ask(
            reference, held_out, "reference", seed=seed, num_answers=num_answers, on_step=on_step
        )
    said = ask(
        candidate, held_out, "candidate", seed=seed, num_answers=num_answers, on_step=on_step
    )
    return judge(held_out, said, reference, limits, seed=seed)


def ask(
    inspector: Inspector,
    held_out: HeldOut,
    step: str,
    *,
    seed: int = 0,
    num_answers: int = NUM_ANSWERS,
    on_step: OnStep = lambda step, done, total: None,
) -> Predictions:
    """What a bundle says about every pair, and about ``num_answers`` of them in words.

    These are drawn by the seed, half of them bad where there are as many. ``step`` is the name
    that ``on_step`` is told. Raises as ``run_gate`` for pictures and graphs.
    """
    order = np.random.default_rng(seed).permutation(len(held_out.truths)).tolist()
    kinds = [held_out.truths[index].is_anomaly for index in order]
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        on_step(step, done, len(held_out.truths))

    return predict(
        str(inspector.engine.bundle.path),
        inspector,
        held_out.pairs,
        with_text=False,
        asked={order[place] for place in take_both_kinds(kinds, num_answers)},
        on_pair=tell,
    )


def image_size(candidate: Inspector, reference: Inspector) -> tuple[int, int]:
    """Rows and columns that both bundles see. Raises ConfigError if they differ."""
    first, second = (
        (model.image_height, model.image_width)
        for model in (one.engine.bundle.manifest.model for one in (candidate, reference))
    )
    if first != second:
        words = " and ".join(f"{height}x{width}" for height, width in sorted((first, second)))
        raise ConfigError(f"the bundles are for images of {words}; both must be of one size")
    return first
