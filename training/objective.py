"""The training loss: answer tokens a task, and the anomaly map's dense loss.

A verdict is one token among a hundred, so each task's loss is a mean over its own tokens before
the weights of the recipe add them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from adcopilot_edge.training.data import Batch
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration, ImageFeatures
from adcopilot_edge.training.packing import KINDS, PackedBatch
from adcopilot_edge.training.stage_recipe import LossRecipe


@dataclass(frozen=True, slots=True)
class Words:
    """Logits at the labelled places (K, V), their labels and kinds (K,)."""

    logits: Tensor
    labels: Tensor
    kinds: Tensor


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the losses are made of.

    words: what was said at the labelled places, or None when the language model did not run.
    anomaly_logits: of each sample's last image (N, cells), or None without the head.
    """

    words: Words | None
    anomaly_logits: tuple[Tensor, ...] | None


def run_batch(
    model: ADCopilotForConditionalGeneration, batch: Batch, *, has_text: bool = True
) -> Outputs:
    """One forward pass; without ``has_text`` of the vision side alone."""
    features = model.model.get_image_features(
        batch.patches, batch.grid, images_per_sample=batch.images_per_sample
    )
    anomaly = features.anomaly_logits
    last = [count - 1 for count in accumulate(batch.images_per_sample)]
    return Outputs(
        words=_run_text(model, batch.text, features) if has_text else None,
        anomaly_logits=None if anomaly is None else tuple(anomaly[index] for index in last),
    )


def _run_text(
    model: ADCopilotForConditionalGeneration, text: PackedBatch, features: ImageFeatures
) -> Words:
    """Logits only where a token is to be predicted."""
    hidden = model.model(
        input_ids=text.ids,
        attention_mask=text.mask,
        position_ids=text.positions,
        mm_encoder_outputs={"image": features},
        use_cache=False,
    ).last_hidden_state
    wanted = text.kinds[:, 1:] >= 0
    return Words(
        logits=model.lm_head(hidden[:, :-1][wanted]),
        labels=text.labels[:, 1:][wanted],
        kinds=text.kinds[:, 1:][wanted],
    )


def compute_losses(outputs: Outputs, targets: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """The unweighted losses: one a kind of answer in the batch, and ``anomaly_map`` with the head.

    Each is a mean: over the answer tokens, over the map's cells of the samples that have a target.
    """
    losses: dict[str, Tensor] = {}
    words = outputs.words
    if words is not None:
        tokens = functional.cross_entropy(words.logits.float(), words.labels, reduction="none")
        for number, kind in enumerate(KINDS):
            asked = words.kinds == number
            if asked.any():
                losses[kind] = tokens[asked].mean()
    if outputs.anomaly_logits is not None:
        known = [
            (logits, target)
            for logits, target in zip(outputs.anomaly_logits, targets, strict=True)
            if target is not None
        ]
        if known:
            losses["anomaly_map"] = functional.binary_cross_entropy_with_logits(
                torch.cat([logits for logits, _ in known]).float(),
                torch.cat([target for _, target in known]),
            )
    return losses


def weighted_sum(losses: dict[str, Tensor], weights: LossRecipe) -> Tensor:
    """The scalar to minimise."""
    total = torch.zeros(())
    for name, loss in losses.items():
        weight: float = getattr(weights, name)
        if weight > 0:
            total = total + weight * loss
    return total
