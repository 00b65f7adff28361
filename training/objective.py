"""The training loss: answer tokens a kind, and what the maps say of cells, patches and pairs.

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

from adcopilot_edge.training.batch import Batch
from adcopilot_edge.training.forward import Outputs, Words
from adcopilot_edge.training.packing import KINDS
from adcopilot_edge.training.stage_recipe import LossRecipe

LOSSES = (*KINDS, "anomaly_map", "map_types", "map_verdict")

_EVEN_CELLS = 250.0
"""With ``even_defects`` the marked cells of a bad pair together count like so many."""
_EVEN_RANGE = (0.5, 6.0)
"""The least and the most that one of them counts."""
_VERDICT_CELLS = 16
"""``map_verdict`` is about so many cells of a pair, the highest ones."""
_MARKED = 0.5
"""How much of a cell a defect covers at least where it is looked for, if it covers so much."""


def loss_counts(batch: Batch) -> Tensor:
    """How many tokens of each kind, cells with a target, patches with a type and pairs with a map.

    (LOSSES,) int64, what ``batch`` has of them.
    """
    kinds = batch.text.kinds[:, 1:]
    tokens = torch.bincount(kinds[kinds >= 0], minlength=len(KINDS))
    cells = sum(target.numel() for target in batch.targets if target is not None)
    typed = sum(int((types >= 0).sum()) for types in batch.types if types is not None)
    pairs = sum(target is not None for target in batch.targets)
    return torch.cat([tokens, torch.tensor([cells, typed, pairs], device=tokens.device)])


def loss_sums(outputs: Outputs, batch: Batch, *, even_defects: bool = False) -> Tensor:
    """The losses of ``LOSSES``, added up over tokens, cells, patches or pairs: (LOSSES,) float32.

    even_defects: as in ``LossRecipe``. A loss that does not apply, of words when none were said or
    of a map without its head, is 0.
    """
    words, logits = outputs.words, outputs.anomaly_logits
    some = words.logits if words is not None else logits[0] if logits is not None else torch.ones(1)
    text = some.new_zeros(len(KINDS), dtype=torch.float32)
    if words is not None:
        text = text.index_add(0, words.kinds, token_losses(words))
    maps = text.new_zeros(3)
    if logits is not None:
        cells = _cell_loss(logits, batch, even_defects)
        maps = torch.stack([cells, _type_loss(logits, batch), _verdict_loss(logits, batch)])
    return torch.cat([text, maps])


def token_losses(words: Words) -> Tensor:
    """The cross-entropy of each labelled token: (K,) float32."""
    return functional.cross_entropy(words.logits.float(), words.labels, reduction="none")


def _cell_loss(logits: Sequence[Tensor], batch: Batch, even_defects: bool) -> Tensor:
    known = [
        (item[:, : truth.shape[1]], truth)
        for item, truth in zip(logits, batch.targets, strict=True)
        if truth is not None
    ]
    if not known:
        return logits[0].new_zeros((), dtype=torch.float32)
    return functional.binary_cross_entropy_with_logits(
        torch.cat([item for item, _ in known]).float(),
        torch.cat([truth for _, truth in known]),
        weight=torch.cat([_even_weights(truth) for _, truth in known]) if even_defects else None,
        reduction="sum",
    )


def _even_weights(truth: Tensor) -> Tensor:
    """What each cell of a pair counts, by how many are marked: 1 where none is."""
    marked = (_EVEN_CELLS / truth.sum().clamp(min=1.0)).clamp(*_EVEN_RANGE)
    return 1.0 + truth * (marked - 1.0)


def _type_loss(logits: Sequence[Tensor], batch: Batch) -> Tensor:
    known = [
        (item[types >= 0, cells.shape[1] :], types[types >= 0])
        for item, cells, types in zip(logits, batch.targets, batch.types, strict=True)
        if cells is not None and types is not None
    ]
    if not known:
        return logits[0].new_zeros((), dtype=torch.float32)
    return functional.cross_entropy(
        torch.cat([item for item, _ in known]).float(),
        torch.cat([types for _, types in known]),
        reduction="sum",
    )


def _verdict_loss(logits: Sequence[Tensor], batch: Batch) -> Tensor:
    """How wrong the verdict of the map is: of a bad pair where the defects are, else anywhere."""
    total = logits[0].new_zeros((), dtype=torch.float32)
    for item, truth in zip(logits, batch.targets, strict=True):
        if truth is None:
            continue
        cells, most = item[:, : truth.shape[1]].float(), float(truth.max())
        looked_at = cells[truth >= min(most, _MARKED)]  # all of a good pair's
        highest = looked_at.topk(min(_VERDICT_CELLS, len(looked_at))).values.mean()
        total = total + functional.softplus(-highest if most > 0 else highest)
    return total


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
