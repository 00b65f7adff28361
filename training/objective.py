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
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.recipe import LossRecipe
from adcopilot_edge.types import TASKS


@dataclass(frozen=True, slots=True)
class Outputs:
    """Logits at the labelled places (K, V), their labels and kinds (K,), map logits (B, N)."""

    logits: Tensor
    labels: Tensor
    kinds: Tensor
    anomaly_logits: Tensor | None


def run_batch(model: ADCopilotForConditionalGeneration, batch: Batch) -> Outputs:
    """One forward pass; logits only where a token is to be predicted."""
    text = batch.text
    samples = len(text.ids)
    features = model.model.get_image_features(
        batch.patches, batch.grid, images_per_sample=[2] * samples
    )
    hidden = model.model(
        input_ids=text.ids,
        attention_mask=text.mask,
        position_ids=text.positions,
        mm_encoder_outputs={"image": features},
        use_cache=False,
    ).last_hidden_state
    wanted = text.kinds[:, 1:] >= 0
    anomaly = features.anomaly_logits
    return Outputs(
        logits=model.lm_head(hidden[:, :-1][wanted]),
        labels=text.labels[:, 1:][wanted],
        kinds=text.kinds[:, 1:][wanted],
        anomaly_logits=None if anomaly is None else torch.stack(anomaly[1::2]),
    )


def compute_losses(outputs: Outputs, target: Tensor) -> dict[str, Tensor]:
    """The unweighted losses: one a task, and ``anomaly_map`` when the model has the head."""
    tokens = functional.cross_entropy(outputs.logits.float(), outputs.labels, reduction="none")
    losses: dict[str, Tensor] = {
        task: tokens[outputs.kinds == kind].mean() for kind, task in enumerate(TASKS)
    }
    if outputs.anomaly_logits is not None:
        losses["anomaly_map"] = functional.binary_cross_entropy_with_logits(
            outputs.anomaly_logits.float(), target
        )
    return {name: loss for name, loss in losses.items() if not loss.isnan()}


def weighted_sum(losses: dict[str, Tensor], weights: LossRecipe) -> Tensor:
    """The scalar to minimise."""
    total = sum(getattr(weights, name) * loss for name, loss in losses.items())
    assert isinstance(total, Tensor)
    return total
