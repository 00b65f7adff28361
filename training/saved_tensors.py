"""What autograd keeps between the passes, counted on modules whose tensors hold no values.

Attention is taken to run in a fused kernel, which keeps its inputs, its output and one float32 a
row. Everything else is what the modules themselves do, so that a frozen layer keeps less than one
that learns. Knows no stages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode


class _FusedAttention(torch.autograd.Function):
    """An attention that keeps what a fused kernel does; it has no values and no backward pass."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        rows = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, output, rows)
        return output


class _Fused(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func is scaled_dot_product_attention:
            return _FusedAttention.apply(*args[:3])
        return func(*args, **(kwargs or {}))


def kept_bytes(run: Callable[[], object], parameters: Iterable[nn.Parameter]) -> int:
    """Bytes that autograd keeps of ``run``, each piece of memory once, without ``parameters``."""
    # A piece of memory without values has no address; the object that stands for it has one.
    own = {parameter.untyped_storage()._cdata for parameter in parameters}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key not in own:
            kept[key] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor), _Fused():
        output = run()  # holds the graph, and with it what was kept
    sizes = [tensor.untyped_storage().nbytes() for tensor in kept.values()]
    del output
    return sum(sizes)
