"""The parity ladder: every stage of an inspection, to be held against a reference stage by stage.

The exporter compares its graphs with the torch checkpoint, :mod:`adcopilot_edge.runtime.verify`
compares a device with the outputs that the exporter stored.

==================  ================================================================================
stage               output
==================  ================================================================================
resize              (H, W, 3) uint8, the test image at the bundle's size
patches             (N, 1176)
patch_embed         (P, C), some patches; where the bundle has probes
block_0 ...         (P, C), the same patches behind each block; where the bundle has probes
features, tokens    (N, C), (N / 4, D), of the test image
comparison_tokens   (L, D), of the test image against the golden; where the model compares
anomaly_logits      (rows, columns); where the model has a map
type_logits         (rows, columns, types), a vector for each patch; where the map knows types
logits              (V,), where the verdict is read
greedy_ids          (T,) int64, the answer to ``describe``, its end token included
verdict             () int64, 1 for an anomaly
==================  ================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from adcopilot_edge.manifest import StageParity
from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.images import ImageSource, open_image
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.runtime.vision import EncodedImage

Metric = Literal["max_abs", "max_rel", "mismatches"]
Stages = Mapping[str, AnyArray]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How the error of a stage is measured, and the largest that passes (see ``StageParity``)."""

    metric: Metric
    limit: float


def run_ladder(
    inspector: Inspector, golden: ImageSource, test: ImageSource, *, max_new_tokens: int
) -> dict[str, AnyArray]:
    """The output of every stage that the bundle has, in the order of the table above."""
    engine = inspector.engine
    reference = inspector.golden(golden, cache=False)
    resized = engine.preprocessor.resize(open_image(test))
    patches = engine.preprocessor.patches(resized)
    probes = engine.encoder.probe(patches)
    encoded = engine.encoder.encode(patches)
    stages: dict[str, AnyArray] = {
        "resize": resized,
        "patches": patches,
        **probes,
        "features": encoded.features,
        "tokens": encoded.tokens,
        **run_from_golden(engine, reference, encoded, max_new_tokens=max_new_tokens),
    }
    # Of an engine they lie on the device, where the next pair overwrites them.
    return {stage: np.array(array) for stage, array in stages.items()}


def run_from_golden(
    engine: Engine, golden: GoldenReference, test: EncodedImage, *, max_new_tokens: int
) -> dict[str, AnyArray]:
    """The output of every stage that the golden has a part in, from the comparison on."""
    manifest = engine.bundle.manifest
    comparison = engine.encoder.compare(golden.features, test.features)
    engine.dialogue.show(golden.prefix, test.tokens, comparison.tokens)
    logits = engine.verdict_logits()
    answer = engine.dialogue.answer(
        manifest.prompt.tasks["describe"], max_new_tokens=max_new_tokens, clock=StageClock()
    )
    stages: dict[str, AnyArray] = {}
    if manifest.model.compare_token_size:
        stages["comparison_tokens"] = comparison.tokens
    if comparison.anomaly_logits is not None:
        stages["anomaly_logits"] = comparison.anomaly_logits
    if comparison.type_logits is not None:
        stages["type_logits"] = comparison.type_logits
    stages["logits"] = logits
    stages["greedy_ids"] = np.array(answer.ids, dtype=np.int64)
    is_anomaly = engine.score(logits) >= manifest.decision.threshold
    stages["verdict"] = np.array(is_anomaly, dtype=np.int64)
    return stages


def compare(
    reference: Stages, actual: Stages, tolerances: Mapping[str, Tolerance]
) -> tuple[StageParity, ...]:
    """Compare the stages of one pair.

    Args:
        reference: The expected outputs.
        actual: The outputs to be judged.
        tolerances: For each stage to be compared, how; in the order of the inspection.

    Returns:
        One record for each stage of ``tolerances``, in their order. A stage that one side lacks, or
        whose shapes differ, has an infinite error; a NaN on either side makes the error NaN, which
        fails.
    """
    return tuple(
        StageParity(
            stage=stage,
            metric=tolerance.metric,
            error=_error(reference.get(stage), actual.get(stage), tolerance.metric),
            tolerance=tolerance.limit,
        )
        for stage, tolerance in tolerances.items()
    )


def worst(pairs: Iterable[tuple[StageParity, ...]]) -> tuple[StageParity, ...]:
    """Return, stage by stage, the record with the largest error over all pairs."""
    return tuple(max(records, key=_severity) for records in zip(*pairs, strict=True))


def _severity(record: StageParity) -> tuple[bool, float]:
    """A key to sort by: NaN is worse than any number."""
    return math.isnan(record.error), record.error


def _error(reference: AnyArray | None, actual: AnyArray | None, metric: Metric) -> float:
    """The error of one stage by its metric."""
    if reference is None or actual is None:
        return math.inf
    if metric == "mismatches":
        return float(_num_mismatches(reference, actual))
    if reference.shape != actual.shape:
        return math.inf
    difference = np.abs(reference.astype(np.float64) - actual.astype(np.float64))
    largest = float(difference.max(initial=0.0))
    if metric == "max_abs":
        return largest
    scale = float(np.abs(reference).max(initial=0.0))
    return largest / scale if scale else largest


def _num_mismatches(reference: AnyArray, actual: AnyArray) -> int:
    """How many places differ; of sequences of unequal length, the missing places count too."""
    one, other = reference.reshape(-1), actual.reshape(-1)
    common = min(one.size, other.size)
    return int((one[:common] != other[:common]).sum()) + max(one.size, other.size) - common
