"""Vision attention in one call where all windows of a batch have the same length.

The stock module attends window by window. With equal windows, as in training at one image size,
one batched attention gives the same numbers in a fraction of the calls; for windows as short as
Qwen's (64 patches) plain products beat the fused kernel's backward pass on a CPU.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLVisionAttention,
    apply_rotary_pos_emb_vision,
)

_SHORT_WINDOW = 64


class BatchedVisionAttention(Qwen2_5_VLVisionAttention):
    """The stock vision attention with a fast path; its tensors have the stock names."""

    def forward(  # type: ignore[override] # the tower always gives the tables
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        **kwargs: Any,
    ) -> Tensor:
        """Attend inside each window of ``hidden_states`` (N, C); returns (N, C)."""
        lengths = cu_seqlens.diff()
        if self.config._attn_implementation != "sdpa" or int(lengths.min()) != int(lengths.max()):
            output: Tensor = super().forward(
                hidden_states, cu_seqlens, position_embeddings=position_embeddings, **kwargs
            )
            return output
        cos, sin = position_embeddings
        q, k, v = self.qkv(hidden_states).unflatten(-1, (3, self.num_heads, -1)).unbind(1)
        q, k = apply_rotary_pos_emb_vision(q, k, cos, sin)
        windows = (len(lengths), -1)
        q, k, v = (item.unflatten(0, windows).transpose(1, 2) for item in (q, k, v))
        if q.shape[2] <= _SHORT_WINDOW:
            weights = (q * self.scaling) @ k.transpose(-1, -2)
            mixed = weights.softmax(-1).to(v.dtype) @ v
        else:
            mixed = scaled_dot_product_attention(q, k, v)
        result: Tensor = self.proj(mixed.transpose(1, 2).flatten(2).flatten(0, 1))
        return result
