"""What each module of the vision side costs the task when it alone is INT8.

The loss is a divergence of what the task reads, in nats: of the verdict's probability, plus the
mean over the patches of the anomaly map's. Both are against the float vision side under the same
language model, so no label is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adcopilot_edge.calibration.answer_log import AnswerLog
from adcopilot_edge.calibration.pairs import Pairs
from adcopilot_edge.export.mixed import int8_modules
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.trials import Trials
from adcopilot_edge.runtime.anomaly_map import map_probabilities
from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.types import FloatArray, LabelledPair, OnStep

# Probabilities nearer to 0 or 1 count as this: a divergence must stay finite.
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Response:
    """What a pair came to: the tokens that the language model gets, the score, the map.

    seen: (N / 4 + L, D). score: 0..1. is_anomaly: by the bundle's own threshold. map: (rows,
    columns) in 0..1, or None.
    """

    seen: FloatArray
    score: float
    is_anomaly: bool
    map: FloatArray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """One module, when it alone is INT8.

    loss: nats, mean over the pairs. error: of the tokens that the language model gets, as a share
    of their norm, mean over the pairs. flips: verdicts that change, of num_pairs.
    """

    module: str
    loss: float
    error: float
    flips: int
    num_pairs: int

    def to_json(self) -> dict[str, Any]:
        """The record as an object."""
        return asdict(self)


def measure_sensitivity(
    trials: Trials,
    recipe: ExportRecipe,
    pairs: Pairs,
    log: AnswerLog,
    on_step: OnStep,
    *,
    label: str = "",
) -> tuple[Sensitivity, ...]:
    """Every module alone in INT8, over all ``pairs``, in the order of computing.

    Args:
        trials: Where vision sides are tried out.
        recipe: How modules become INT8.
        pairs: At least one; their labels are not read.
        log: Keeps what is done; modules that are in it are not measured again.
        on_step: Told of every module.
        label: What stands before a module's key in the log.
    """
    modules = int8_modules(trials.checkpoint, recipe)
    found: list[Sensitivity] = []
    step = f"{label}sensitivity"
    on_step(step, 0, len(modules))
    references: list[Response] = []
    for number, module in enumerate(modules, start=1):
        key = f"{step} {module}"
        if key not in log.answers:
            if not references:
                references = _respond_all(trials, replace(recipe, kept=modules), pairs)
            others = tuple(name for name in modules if name != module)
            responses = _respond_all(trials, replace(recipe, kept=others), pairs)
            log.add(key, compare_responses(module, references, responses).to_json())
        found.append(Sensitivity(**log.answers[key]))
        on_step(step, number, len(modules))
    return tuple(found)


def rank(found: Sequence[Sensitivity]) -> tuple[str, ...]:
    """The modules, the one that costs the task most first; one that gives no number leads."""
    return tuple(
        item.module
        for item in sorted(found, key=lambda item: (not math.isnan(item.loss), -item.loss))
    )


def compare_responses(
    module: str, references: Sequence[Response], responses: Sequence[Response]
) -> Sensitivity:
    """How far ``responses`` are from ``references``."""
    both = list(zip(references, responses, strict=True))
    return Sensitivity(
        module=module,
        loss=float(np.mean([_loss(one, other) for one, other in both])),
        error=float(np.mean([_error(one.seen, other.seen) for one, other in both])),
        flips=sum(one.is_anomaly != other.is_anomaly for one, other in both),
        num_pairs=len(both),
    )


def divergence(reference: ArrayLike, actual: ArrayLike) -> NDArray[np.float64]:
    """Kullback-Leibler divergence of two-way probabilities in 0..1, value by value, in nats."""
    p, q = (
        np.clip(np.asarray(value, np.float64), _EPSILON, 1 - _EPSILON)
        for value in (reference, actual)
    )
    found: NDArray[np.float64] = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return found


def _respond_all(trials: Trials, recipe: ExportRecipe, pairs: Pairs) -> list[Response]:
    """What a vision side by ``recipe`` makes of every pair."""
    with trials.open(recipe) as engine:
        return [_respond(engine, pair) for pair in pairs]


def _respond(engine: Engine, pair: LabelledPair) -> Response:
    golden = engine.read_golden(pair.golden)
    patches = engine.preprocessor.patches(engine.preprocessor.resize(pair.test))
    encoded = engine.encoder.encode(patches)
    comparison = engine.encoder.compare(golden.features, encoded.features)
    engine.dialogue.show(golden.prefix, encoded.tokens, comparison.tokens)
    logits, score = comparison.anomaly_logits, engine.score(engine.verdict_logits())
    return Response(
        seen=np.concatenate([encoded.tokens, comparison.tokens]),
        score=score,
        is_anomaly=score >= engine.bundle.manifest.decision.threshold,
        map=None if logits is None else map_probabilities(logits),
    )


def _loss(reference: Response, actual: Response) -> float:
    loss = float(divergence(reference.score, actual.score))
    if reference.map is not None and actual.map is not None:
        loss += float(divergence(reference.map, actual.map).mean())
    return loss


def _error(reference: FloatArray, actual: FloatArray) -> float:
    return float(np.linalg.norm(actual - reference) / np.linalg.norm(reference))
