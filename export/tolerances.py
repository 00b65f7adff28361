"""How far each stage of a bundle may be from the checkpoint: one table a precision, with reasons.

Errors in brackets are the largest seen on trained nano weights (20 to 40 pairs, 224 px) and on
random tiny weights, whose errors nothing has learned to ignore.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.ladder import Stages, Tolerance

# float32 against float32: only the order of sums differs.
_FLOAT = {
    "resize": Tolerance("max_abs", 0),  # one library does it on both sides
    "patches": Tolerance("max_abs", 1e-6),  # [0]
    "patch_embed": Tolerance("max_rel", 5e-5),  # [4e-7]
    "block": Tolerance("max_rel", 5e-5),  # each of them, as the last, which gives the features
    "features": Tolerance("max_rel", 5e-5),  # [4e-7; 1e-5 on 32 random blocks of full width]
    "tokens": Tolerance("max_rel", 5e-5),  # [1e-6]
    "comparison_tokens": Tolerance("max_rel", 5e-5),  # [5e-6]
    "anomaly_logits": Tolerance("max_abs", 1e-3),  # [1e-5]
    "type_logits": Tolerance("max_abs", 1e-3),
    "logits": Tolerance("max_abs", 1e-3),  # [1e-5]
    "greedy_ids": Tolerance("mismatches", 0),
    "verdict": Tolerance("mismatches", 0),
}

# 8-bit inputs of every layer: 1/255 of its range a layer, and the attention amplifies some. Levels
# that pairs fixed get no more, though their range is wider than one run's and clips what is beyond.
_INT8_VISION = {
    "patch_embed": Tolerance("max_rel", 0.1),
    "block": Tolerance("max_rel", 0.2),
    "features": Tolerance("max_rel", 0.2),  # [0.08]
    "tokens": Tolerance("max_rel", 0.2),  # [0.05]
    "comparison_tokens": Tolerance("max_rel", 0.4),  # [0.22 untrained, 0.03 trained]
    "anomaly_logits": Tolerance("max_rel", 0.2),  # [0.06]
    "type_logits": Tolerance("max_rel", 0.2),
    "logits": Tolerance("max_rel", 0.1),  # [0.006]
}
# float16 has 11 bits: a thousandth a layer, more where the sum of the blocks cancels. On a CPU
# onnxruntime computes such graphs in float32 with the rounded weights [0.001 on random tiny ones];
# what float16 arithmetic adds there, emulated operator by operator, is as much again [0.0015].
_HALF_VISION = {
    "patch_embed": Tolerance("max_rel", 0.02),
    "block": Tolerance("max_rel", 0.02),
    "features": Tolerance("max_rel", 0.02),
    "tokens": Tolerance("max_rel", 0.02),
    "comparison_tokens": Tolerance("max_rel", 0.04),
    "anomaly_logits": Tolerance("max_rel", 0.02),
    "type_logits": Tolerance("max_rel", 0.02),
    "logits": Tolerance("max_rel", 0.02),
}
_HALF_LOGITS = Tolerance("max_rel", 0.02)
# 8-bit weights and 8-bit inputs by blocks of 32 [0.007]; 4 bits have 16 times coarser weights.
_INT8_LOGITS = Tolerance("max_rel", 0.05)
_INT4_LOGITS = Tolerance("max_rel", 0.4)  # [0.06; noise weights: 0.14 at 3B shape, 0.23 at 7B]

_VISION: dict[Precision, dict[str, Tolerance]] = {
    "fp32": {},
    "fp16": _HALF_VISION,
    "int8": _INT8_VISION,
}
_LOGITS: dict[Precision, Tolerance] = {
    "fp16": _HALF_LOGITS,
    "int8": _INT8_LOGITS,
    "int4": _INT4_LOGITS,
}

# Quantized, one pair in ten may change its verdict here, and a single one too, for what it shows of
# a verdict is a coin's worth: the gate on accuracy is `evaluate`.
_PAIRS_A_FLIP = 10
_BLOCK = re.compile(r"block_\d+")


def stage_tolerances(recipe: ExportRecipe, references: Sequence[Stages]) -> dict[str, Tolerance]:
    """The tolerance of every stage that the references have, mismatches over all of them."""
    table = dict(_FLOAT)
    table.update(_VISION[recipe.vision])
    if recipe.llm in _LOGITS:
        table["logits"] = max(_LOGITS[recipe.llm], table["logits"], key=_relative_limit)
    if recipe.vision != "fp32" or recipe.llm != "fp32":
        # One id that differs changes all that follow: their number is shown, not judged.
        num_ids = sum(recipe.max_new_tokens or 0 for _ in references)
        table["greedy_ids"] = Tolerance("mismatches", num_ids)
        flips = max(1, len(references) // _PAIRS_A_FLIP)
        table["verdict"] = Tolerance("mismatches", flips)
    return {stage: table[_BLOCK.sub("block", stage)] for stage in references[0]}


def _relative_limit(tolerance: Tolerance) -> float:
    """The limit of a relative tolerance; an absolute one is the float table's, the tightest."""
    return tolerance.limit if tolerance.metric == "max_rel" else 0.0
