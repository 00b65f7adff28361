"""The training loss: answer tokens a task, and the anomaly map's dense loss.

A verdict is one token among a hundred, so each task's loss is a mean over its own tokens before
the weights of the recipe add them up. The mean is over all that an optimizer step sees: each part
of a batch gives sums, and the counts of the whole batch divide them. So neither the number of
devices nor of parts changes the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from adcopilot_edge.training.data import Batch
from adcopilot_edge.training.forward import Outputs
from adcopilot_edge.training.recipe import LossRecipe
from adcopilot_edge.types import TASKS

LOSSES = (*TASKS, "anomaly_map")


def loss_counts(batch: Batch) -> Tensor:
    """How many answer tokens of each task, and cells of the map, ``batch`` has: (LOSSES,) int64."""
    kinds = batch.text.kinds[:, 1:]
    tokens = torch.bincount(kinds[kinds >= 0], minlength=len(TASKS))
    return torch.cat([tokens, torch.tensor([batch.target.numel()], device=tokens.device)])


def loss_sums(outputs: Outputs, target: Tensor) -> Tensor:
    """The losses of ``LOSSES``, added up over tokens or cells: (LOSSES,) float32.

    A loss that does not apply, of words when none were said or of the map without its head, is 0.
    """
    sums = torch.zeros(len(LOSSES), device=target.device)
    words = outputs.words
    if words is not None:
        tokens = functional.cross_entropy(words.logits.float(), words.labels, reduction="none")
        sums = sums.index_add(0, words.kinds, tokens)
    if outputs.anomaly_logits is not None:
        cells = functional.binary_cross_entropy_with_logits(
            outputs.anomaly_logits.float(), target, reduction="sum"
        )
        sums = sums + functional.one_hot(torch.tensor(len(TASKS)), len(LOSSES)).to(sums) * cells
    return sums


def loss_weights(weights: LossRecipe) -> Tensor:
    """The weights of ``LOSSES``: (LOSSES,) float32."""
    return torch.tensor([float(getattr(weights, name)) for name in LOSSES])


def named_losses(losses: Tensor, counts: Tensor, *, has_text: bool) -> dict[str, float]:
    """The losses that were asked for, by name."""
    return {
        name: round(float(loss), 4)
        for name, loss, count in zip(LOSSES, losses, counts, strict=True)
        if count > 0 and (has_text or name not in TASKS)
    }
