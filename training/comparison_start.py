"""Where the Comparison Encoder's weights stand before it has learned anything.

Only for training from scratch, or for a part that is new to a checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import initialization as init

if TYPE_CHECKING:
    from adcopilot_edge.training.comparison import ComparisonEncoder

# Biases of query and key in the first rotary frequencies of each axis when training starts: a
# patch then gives its neighbour e^-5.8 of the weight of its own place.
_ALIGNED_BIAS = 8.0
_ALIGNED_FREQUENCIES = 2
_ROPE_THETA = 10_000.0
# Rows and columns, in patches, of what the heads of a query on the grid look at first.
_AROUND = ((0.0, 0.0), (-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5))
# The map starts near the share of defective patches, so that the first steps are not spent on it.
_ANOMALY_PRIOR_LOGIT = -3.5

# What is told of a found region starts about as large as the rest of a token. From zero it stayed
# small for hundreds of steps: the language model has nothing to read, and so does not ask for more.
_TOLD_STD = 0.1

# Key gain along the map's direction and query bias of a head pointed at the map.
_POINTED_KEY_GAIN = 12.0
_POINTED_QUERY_BIAS = 4.0


@torch.no_grad()
def start_comparison(encoder: ComparisonEncoder) -> None:
    """Start values beyond those of the layers.

    The query decoder starts with unit gain: with small weights its attention is an average over
    all patches, in which one defective patch does not show.

    With rotary terms the two image-to-image attentions start at the same place of both images, and
    the second takes the previous features away from half of the current ones, so that the encoder
    sees a difference from the first step on. Without this start a small model takes many times
    longer to find that two images have a common grid.
    """
    init.normal_(encoder.query_embeddings, mean=0.0, std=1.0)
    if encoder.patch_places is not None:
        init.zeros_(encoder.patch_places)
    if encoder.told_map is not None:
        init.normal_(encoder.told_map, mean=0.0, std=_TOLD_STD)
    for linear in (
        *(getattr(encoder.decoder_cross_attn, name) for name in ("q_proj", "kv", "proj")),
        *(getattr(encoder.decoder_mlp, name) for name in ("gate_proj", "up_proj", "down_proj")),
        encoder.compare_projector,
    ):
        init.normal_(linear.weight, mean=0.0, std=linear.in_features**-0.5)
    if encoder.has_grid:
        _align_queries(encoder)
    if encoder.anomaly_map is not None:
        init.constant_(encoder.anomaly_map.bias, _ANOMALY_PRIOR_LOGIT)
    if encoder.has_rope:
        _align_images(encoder)


def _align_images(encoder: ComparisonEncoder) -> None:
    """Let both image-to-image attentions start at the same place of both images."""
    width = encoder.encoder_norm1.weight.numel()
    heads = encoder.encoder_cross_attn1.num_heads
    head_dim = width // heads
    place = _place_bias(encoder, torch.zeros(heads, 2))
    for attention in (encoder.encoder_cross_attn1, encoder.encoder_cross_attn2):
        init.copy_(attention.q_proj.bias, place.flatten())
        init.copy_(attention.kv.bias, torch.cat([place.flatten(), torch.zeros(width)]))
    taken = torch.zeros(heads, head_dim)
    taken[:, : head_dim // 2] = 1.0
    second = encoder.encoder_cross_attn2
    keys = second.kv.weight[:width]
    init.copy_(second.kv.weight, torch.cat([keys, torch.eye(width)]))
    init.copy_(second.proj.weight, -torch.diag(taken.flatten()))


def _place_bias(encoder: ComparisonEncoder, offsets: Tensor) -> Tensor:
    """The bias (heads, head_dim) of rotary queries or keys that stand ``offsets`` further on.

    offsets: (heads, 2), rows and columns in patches.
    """
    attention = encoder.decoder_cross_attn
    head_dim = attention.q_proj.out_features // attention.num_heads
    half, quarter = head_dim // 2, head_dim // 4
    bias = torch.zeros(attention.num_heads, head_dim)
    for axis in range(2):
        for number in range(_ALIGNED_FREQUENCIES):
            at = axis * quarter + number
            phase = offsets[:, axis] * _ROPE_THETA ** (-2 * number / half)
            bias[:, at] = _ALIGNED_BIAS * phase.cos()
            bias[:, at + half] = _ALIGNED_BIAS * phase.sin()
    return bias


def _align_queries(encoder: ComparisonEncoder) -> None:
    """Let the heads of a query start at the patches around its place, each at another one."""
    attention = encoder.decoder_cross_attn
    offsets = torch.tensor([_AROUND[head % len(_AROUND)] for head in range(attention.num_heads)])
    keys = torch.zeros_like(offsets)
    init.copy_(attention.q_proj.bias, _place_bias(encoder, offsets).flatten())
    values = torch.zeros(attention.q_proj.out_features)
    init.copy_(attention.kv.bias, torch.cat([_place_bias(encoder, keys).flatten(), values]))


@torch.no_grad()
def point_queries_at_map(encoder: ComparisonEncoder) -> None:
    """Let half of the query decoder's heads attend where the anomaly map is high.

    A start for learned queries behind a trained map: one key dimension of each such head reads the
    map's direction, and every query asks for it. Training goes on from there.

    Raises ValueError without the anomaly-map head.
    """
    if encoder.anomaly_map is None:
        raise ValueError("this model has no anomaly map to point the queries at")
    attention = encoder.decoder_cross_attn
    head_dim = attention.q_proj.out_features // attention.num_heads
    direction = encoder.anomaly_map.weight.mean(0)
    direction = direction / direction.norm()
    for head in range((attention.num_heads + 1) // 2):
        attention.kv.weight[head * head_dim] = direction * _POINTED_KEY_GAIN
        attention.q_proj.bias[head * head_dim] = _POINTED_QUERY_BIAS
