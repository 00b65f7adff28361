"""The patch embedding as one matrix product.

Its convolution has a stride as large as its kernel, so over patches that are already cut out it is
a product; CPU kernels for the convolution take half of a small model's training step.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import linear
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionPatchEmbed


class ProductPatchEmbed(Qwen2_5_VisionPatchEmbed):
    """The stock patch embedding; its tensor has the stock name and shape."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Embed patches (N, channels * frames * height * width); returns (N, C)."""
        weight = self.proj.weight
        return linear(hidden_states.to(weight.dtype), weight.flatten(1))
