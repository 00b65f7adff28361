"""The training loss: answer tokens a kind, and the anomaly map's dense loss.

A verdict is one token among a hundred, so each kind's loss is a mean over its own tokens before
the weights of the recipe add them up. The mean is over all that an optimizer step sees: each part
of a batch gives sums, and the counts of the whole batch divide them. So neither the number of
devices nor that of parts changes the loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from adcopilot_edge.training.data import Batch
from adcopilot_edge.training.forward import Outputs
from adcopilot_edge.training.packing import KINDS
from adcopilot_edge.training.stage_recipe import LossRecipe

LOSSES = (*KINDS, "anomaly_map")


def loss_counts(batch: Batch) -> Tensor:
    """How many tokens of each kind, and cells with a target, ``batch`` has: (LOSSES,) int64."""
    kinds = batch.text.kinds[:, 1:]
    tokens = torch.bincount(kinds[kinds >= 0], minlength=len(KINDS))
    cells = sum(target.numel() for target in batch.targets if target is not None)
    return torch.cat([tokens, torch.tensor([cells], device=tokens.device)])


def loss_sums(outputs: Outputs, targets: Sequence[Tensor | None]) -> Tensor:
    """The losses of ``LOSSES``, added up over tokens or cells: (LOSSES,) float32.

    A loss that does not apply, of words when none were said or of the map without its head, is 0.
    """
    words, logits = outputs.words, outputs.anomaly_logits
    some = words.logits if words is not None else logits[0] if logits is not None else torch.ones(1)
    text, cells = some.new_zeros(len(KINDS), dtype=torch.float32), some.new_zeros(1).float()
    if words is not None:
        tokens = functional.cross_entropy(words.logits.float(), words.labels, reduction="none")
        text = text.index_add(0, words.kinds, tokens)
    pairs = () if logits is None else zip(logits, targets, strict=True)
    known = [(item, truth) for item, truth in pairs if truth is not None]
    if known:
        cells = functional.binary_cross_entropy_with_logits(
            torch.cat([item for item, _ in known]).float(),
            torch.cat([truth for _, truth in known]),
            reduction="sum",
        )[None]
    return torch.cat([text, cells])


def loss_weights(weights: LossRecipe) -> Tensor:
    """The weights of ``LOSSES``: (LOSSES,) float32."""
    return torch.tensor([float(getattr(weights, name)) for name in LOSSES])


def named_losses(losses: Tensor, counts: Tensor, *, has_text: bool) -> dict[str, float]:
    """The losses that apply to what was counted, by name; words only where they were said."""
    return {
        name: round(float(loss), 4)
        for name, loss, count in zip(LOSSES, losses, counts, strict=True)
        if count > 0 and (has_text or name not in KINDS)
    }
