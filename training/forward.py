"""One forward pass over a batch of pairs: what the losses and the scores are made of.

Knows neither weights of losses nor how a model is trained; the model's own ``forward`` calls it, so
that whatever wraps the model (data parallel, shards, adapters) sees one call a batch.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from adcopilot_edge.training.data import Batch
    from adcopilot_edge.training.model import ADCopilotForConditionalGeneration, ImageFeatures
    from adcopilot_edge.training.packing import PackedBatch

_Record = TypeVar("_Record")


class Words(NamedTuple):
    """Logits at the labelled places (K, V), their labels and kinds (K,)."""

    logits: Tensor
    labels: Tensor
    kinds: Tensor


class Outputs(NamedTuple):
    """What the losses are made of; tuples, because shards look for tensors in tuples only.

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


def to_device(record: _Record, device: torch.device) -> _Record:
    """``record``, a dataclass of tensors and of such dataclasses, with its tensors on ``device``."""
    moved: dict[str, Any] = {}
    assert is_dataclass(record)
    for item in fields(record):
        value = getattr(record, item.name)
        if isinstance(value, Tensor):
            moved[item.name] = value.to(device, non_blocking=True)
        elif is_dataclass(value):
            moved[item.name] = to_device(value, device)
    return replace(record, **moved)
