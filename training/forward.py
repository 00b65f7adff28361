"""One forward pass over a batch of pairs: what the losses and the scores are made of.

Knows neither weights of losses nor how a model is trained; the model's own ``forward`` calls it, so
that whatever wraps the model (data parallel, shards, adapters) sees one call a batch.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from adcopilot_edge.training.batch import Batch
    from adcopilot_edge.training.model import ADCopilotForConditionalGeneration, ImageFeatures
    from adcopilot_edge.training.packing import PackedBatch

_Value = TypeVar("_Value")


class Words(NamedTuple):
    """Logits at the labelled places (K, V), their labels and kinds (K,)."""

    logits: Tensor
    labels: Tensor
    kinds: Tensor


class Outputs(NamedTuple):
    """What the losses are made of; tuples, because shards look for tensors in tuples only.

    words: what was said at the labelled places, or None when the language model did not run.
    anomaly_logits: of each sample's last image (N, cells + types), or None without the head.
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
        anomaly_logits=None if anomaly is None else tuple(anomaly[index].clone() for index in last),
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


def answer_rows(text: PackedBatch) -> Tensor:
    """The row of each labelled place, in the order of ``Words``: (K,) int64."""
    return torch.nonzero(text.kinds[:, 1:] >= 0)[:, 0]


def to_device(value: _Value, device: torch.device) -> _Value:
    """``value`` with its tensors on ``device``: of dataclasses and tuples those inside."""
    moved: Any = value
    if isinstance(value, Tensor):
        moved = value.to(device, non_blocking=True)
    elif isinstance(value, tuple):
        moved = tuple(to_device(item, device) for item in value)
    elif is_dataclass(value):
        parts = {item.name: to_device(getattr(value, item.name), device) for item in fields(value)}
        kind: Any = type(value)
        moved = kind(**parts)
    return moved
