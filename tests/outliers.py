"""A model that is hard to quantize: a few channels far larger than the others, the same function.

The gain of a norm is multiplied, the columns of the weights behind it divided, by a power of two,
as large language models come to have them by training; no float result changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tiny import edit_tensors

Tensors = dict[str, torch.Tensor]


def inject_outliers(
    checkpoint: Path,
    blocks: Sequence[int],
    *,
    channels: Sequence[int] = (3,),
    factor: float = 1024.0,
) -> None:
    """Make ``channels`` of what the attention and the MLP of ``blocks`` get ``factor`` larger."""

    def edit(tensors: Tensors) -> None:
        for block in blocks:
            for norm, layers in (
                ("norm1", ("attn.qkv",)),
                ("norm2", ("mlp.gate_proj", "mlp.up_proj")),
            ):
                gain = _named(tensors, f"blocks.{block}.{norm}.weight")
                for channel in channels:
                    gain[channel] *= factor
                    for layer in layers:
                        _named(tensors, f"blocks.{block}.{layer}.weight")[:, channel] /= factor

    edit_tensors(checkpoint / "model.safetensors", edit)


def _named(tensors: Tensors, ending: str) -> torch.Tensor:
    (name,) = [name for name in tensors if name.endswith(f"visual.{ending}")]
    return tensors[name]
