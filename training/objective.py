"""The training loss: answer tokens a task, and the anomaly map's dense loss.

A verdict is one token among a hundred, so each task's loss is a mean over its own tokens before
the weights of the recipe add them up.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from adcopilot_edge.training.data import Batch
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration, ImageFeatures
from adcopilot_edge.training.packing import PackedBatch
from adcopilot_edge.training.recipe import LossRecipe
from adcopilot_edge.types import TASKS


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
    anomaly_logits: (B, N, cells) of the test images, or None without the head.
    """

    words: Words | None
    anomaly_logits: Tensor | None


def run_batch(
    model: ADCopilotForConditionalGeneration, batch: Batch, *, has_text: bool = True
) -> Outputs:
    """One forward pass; without ``has_text`` of the vision side alone."""
    features = model.model.get_image_features(
        batch.patches, batch.grid, images_per_sample=[2] * len(batch.text.ids)
    )
    anomaly = features.anomaly_logits
    return Outputs(
        words=_run_text(model, batch.text, features) if has_text else None,
        anomaly_logits=None if anomaly is None else torch.stack(anomaly[1::2]),
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


def compute_losses(outputs: Outputs, target: Tensor) -> dict[str, Tensor]:
    """The unweighted losses: one a task that was asked, and ``anomaly_map`` with the head."""
    losses: dict[str, Tensor] = {}
    words = outputs.words
    if words is not None:
        tokens = functional.cross_entropy(words.logits.float(), words.labels, reduction="none")
        for kind, task in enumerate(TASKS):
            asked = words.kinds == kind
            if asked.any():
                losses[task] = tokens[asked].mean()
    if outputs.anomaly_logits is not None:
        losses["anomaly_map"] = functional.binary_cross_entropy_with_logits(
            outputs.anomaly_logits.float(), target
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
