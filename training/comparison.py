"""The Comparison Encoder: two cross-attentions between a pair's features, then learned queries.

Tensor names and order follow the AD-Copilot spec, section 3: at the released shape (width 1280,
16 heads, MLP 3420, 100 queries, language model 3584) it has 36 tensors and 63,801,344 parameters.
Knows nothing of images, prompts or which image is paired with which (that is ``model.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLMLP,
    Qwen2_5_VLRMSNorm,
    apply_rotary_pos_emb_vision,
)

from adcopilot_edge.areas import TOLD_GAIN
from adcopilot_edge.positions import PLACE_WAVES, grid_places, place_waves
from adcopilot_edge.training.config import ADCopilotVisionConfig
from adcopilot_edge.training.told_map import num_told, told_of_map

RotaryTables = tuple[Tensor, Tensor]


class FeatureBatch(NamedTuple):
    """Features of one image a row, zero-padded at the end to the longest.

    features: (B, N, C). mask: (B, N) bool, true for real patches, or None when nothing is padded.
    rotary: cosine and sine, each (B, N, head_dim), or None where nothing has a place. waves: the
    places of the patches (B, N, PLACE_WAVES), with ``compare_patch_places``.
    """

    features: Tensor
    mask: Tensor | None
    rotary: RotaryTables | None
    waves: Tensor | None = None


def query_places(grids: Sequence[Tensor], count: int) -> Tensor:
    """Rows and columns (B, count, 2) of the queries; ``grids``: of each image, (t, rows, cols)."""
    sizes = [grid.tolist() for grid in grids]
    places = [grid_places(rows, columns, count) for _, rows, columns in sizes]
    return torch.stack([torch.from_numpy(place) for place in places])


def patch_waves(places: Sequence[Tensor], grids: Tensor) -> list[Tensor]:
    """What the queries are told of the places (N, 2) of each image's patches: (N, PLACE_WAVES).

    grids: of each image, (t, rows, columns).
    """
    return [
        torch.from_numpy(place_waves(item.cpu().numpy(), rows, columns)).to(item.device)
        for item, (_, rows, columns) in zip(places, grids.tolist(), strict=True)
    ]


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence over another; q, fused kv and output with bias.

    The rows of ``kv`` are keys first, then values (spec 3.3). Attention runs through SDPA whatever
    the rest of the model uses, because the padding masks need it (spec 3.4).
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        query: Tensor,
        context: Tensor,
        *,
        context_mask: Tensor | None = None,
        rotary: tuple[RotaryTables, RotaryTables] | None = None,
    ) -> Tensor:
        """Attend from ``query`` (B, T, C) to ``context`` (B, N, C); returns (B, T, C).

        rotary: tables of the query's and of the context's positions, applied to q and k.
        """
        q = self.q_proj(query).unflatten(-1, (self.num_heads, -1))
        k, v = self.kv(context).unflatten(-1, (2, self.num_heads, -1)).unbind(2)
        if rotary is not None:
            (q_cos, q_sin), (k_cos, k_sin) = rotary
            q, _ = apply_rotary_pos_emb_vision(q, q, q_cos, q_sin)
            k, _ = apply_rotary_pos_emb_vision(k, k, k_cos, k_sin)
        mask = None if context_mask is None else context_mask[:, None, None, :]
        mixed = scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
        )
        output: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return output


class ComparisonEncoder(nn.Module):
    """Comparison tokens of a current image against a previous one (spec 3.3, steps 1 to 13)."""

    def __init__(self, config: ADCopilotVisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.minus_residual = config.compare_minus_residual
        self.has_rope = config.compare_rope
        self.has_grid = config.compare_query_grid
        self.query_embeddings = nn.Parameter(torch.zeros(config.compare_token_size, width))
        self.patch_places = (
            nn.Parameter(torch.zeros(PLACE_WAVES, width)) if config.compare_patch_places else None
        )

        self.encoder_norm1 = Qwen2_5_VLRMSNorm(width, eps=1e-6)
        self.encoder_cross_attn1 = CrossAttention(width, config.num_heads)
        self.encoder_norm2 = Qwen2_5_VLRMSNorm(width, eps=1e-6)
        self.encoder_mlp1 = Qwen2_5_VLMLP(config)
        self.encoder_norm3 = Qwen2_5_VLRMSNorm(width, eps=1e-6)
        self.encoder_cross_attn2 = CrossAttention(width, config.num_heads)
        self.encoder_norm4 = Qwen2_5_VLRMSNorm(width, eps=1e-6)
        self.encoder_mlp2 = Qwen2_5_VLMLP(config)

        self.decoder_norm1 = Qwen2_5_VLRMSNorm(width, eps=1e-6)
        self.decoder_cross_attn = CrossAttention(width, config.num_heads)
        self.decoder_norm2 = Qwen2_5_VLRMSNorm(width, eps=1e-6)
        self.decoder_mlp = Qwen2_5_VLMLP(config)
        self.compare_projector = nn.Linear(width, config.out_hidden_size)

        self.anomaly_map = (
            nn.Linear(width, config.compare_map_scale**2) if config.compare_anomaly_map else None
        )
        types = len(config.compare_map_types)
        self.type_map = nn.Linear(width, types) if types else None
        self.told_map = (
            nn.Parameter(torch.zeros(num_told(config), config.out_hidden_size))
            if config.compare_token_cells
            else None
        )

    def forward(
        self,
        previous: FeatureBatch,
        current: FeatureBatch,
        anchors: RotaryTables | None = None,
        grids: Sequence[tuple[int, int]] = (),
    ) -> tuple[Tensor, Tensor | None]:
        """Compare ``current`` with ``previous``, row by row.

        anchors: cosine and sine, each (B, L, head_dim), of the queries' places in the current
        image, with ``compare_query_grid``. grids: rows and columns of patches of each current
        image, with ``compare_token_cells``.

        Returns the comparison tokens (B, L, D) and, with the anomaly-map head, the logits of each
        patch's cells in raster order and of its types (B, N, cells + types), meaningless at padded
        patches.
        """
        cur = self._update_current(previous, current)
        normed = self.decoder_norm1(cur)
        if self.patch_places is not None:
            assert current.waves is not None, "compare_patch_places needs the places of the patches"
            normed = normed + (current.waves.to(normed.dtype) @ self.patch_places)
        queries = self.query_embeddings.to(cur.dtype).expand(len(cur), -1, -1)
        places = None
        if anchors is not None and current.rotary is not None:
            places = (anchors, current.rotary)
        queries = queries + self.decoder_cross_attn(
            self.decoder_norm1(queries), normed, context_mask=current.mask, rotary=places
        )
        queries = queries + self.decoder_mlp(self.decoder_norm2(queries))
        tokens = self.compare_projector(queries)
        if self.anomaly_map is None:
            return tokens, None
        logits = self.anomaly_map(cur)
        if self.type_map is not None:
            logits = torch.cat([logits, self.type_map(cur)], dim=-1)
        if self.told_map is not None:
            told = [
                told_of_map(row[: rows * columns], (rows, columns), self.config)
                for row, (rows, columns) in zip(logits, grids, strict=True)
            ]
            tokens = tokens + TOLD_GAIN * torch.stack(told).to(tokens.dtype) @ self.told_map
        return tokens, logits

    def _update_current(self, previous: FeatureBatch, current: FeatureBatch) -> Tensor:
        """The current features after both image-to-image attentions (steps 1 to 8)."""
        prev, cur = previous.features, current.features
        forth = back = None
        if self.has_rope and previous.rotary is not None and current.rotary is not None:
            forth = (previous.rotary, current.rotary)
            back = (current.rotary, previous.rotary)
        prev = prev + self.encoder_cross_attn1(
            self.encoder_norm1(prev),
            self.encoder_norm1(cur),
            context_mask=current.mask,
            rotary=forth,
        )
        prev = prev + self.encoder_mlp1(self.encoder_norm2(prev))
        cur = cur + self.encoder_cross_attn2(
            self.encoder_norm3(cur),
            self.encoder_norm3(prev),
            context_mask=previous.mask,
            rotary=back,
        )
        update = self.encoder_mlp2(self.encoder_norm4(cur))
        return cur - update if self.minus_residual else cur + update
