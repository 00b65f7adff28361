"""The dialect of onnxruntime: norm, attention and rotation as one operator each.

The norms and the rotation compute in float32; onnxruntime's attention kernels keep the softmax in
float32 themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from adcopilot_edge.export.graph import MICROSOFT, GraphBuilder
from adcopilot_edge.types import FloatArray


@dataclass(frozen=True, slots=True)
class FusedRotary:
    """Rotary tables as onnxruntime's operator reads them; see :class:`dialect.Rotary`.

    first: the row of the first patch. num_rows: N. width: values of a head.
    """

    cos: ir.Value
    sin: ir.Value
    first: ir.Value
    num_rows: int
    width: int

    def rotate(self, graph: GraphBuilder, value: ir.Value, *, name: str) -> ir.Value:
        """See :class:`dialect.Rotary`."""
        assert value.dtype is not None
        # The operator reads (B, H, N, d) or (B, N, H * d); the second needs no transposition, and
        # takes the number of heads from the table.
        rows = graph.reshape(value, (1, self.num_rows, -1), name=f"{name}.rows")
        turned = graph.op(
            "RotaryEmbedding",
            [
                graph.cast(rows, ir.DataType.FLOAT, name=f"{name}.exact"),
                self.first,
                self.cos,
                self.sin,
            ],
            {"interleaved": 0},
            name=f"{name}.turned",
            domain=MICROSOFT,
        )
        turned = graph.cast(turned, value.dtype, name=f"{name}.rounded")
        return graph.reshape(turned, (self.num_rows, -1, self.width), name=name)


@dataclass(frozen=True, slots=True)
class FusedDialect:
    """onnxruntime's own operators; see :class:`dialect.Dialect`."""

    width_multiple: int = 1

    def rms_norm(
        self, graph: GraphBuilder, value: ir.Value, gain: FloatArray, eps: float, *, name: str
    ) -> ir.Value:
        """See :class:`dialect.Dialect`.

        onnxruntime has this operator in its own right since 1.4 on every provider; ONNX has it
        from opset 23 only.
        """
        value = graph.cast(value, ir.DataType.FLOAT, name=f"{name}.exact")
        weight = graph.constant(f"{name}.weight", gain)
        attributes = {"axis": -1, "epsilon": eps, "stash_type": 1}
        return graph.op("SimplifiedLayerNormalization", [value, weight], attributes, name=name)

    def gelu(self, graph: GraphBuilder, value: ir.Value, *, name: str) -> ir.Value:
        """See :class:`dialect.Dialect`."""
        return graph.op("Gelu", [value], name=name)

    def rotary(
        self, graph: GraphBuilder, cos: FloatArray, sin: FloatArray, *, name: str = "rotary"
    ) -> FusedRotary:
        """See :class:`dialect.Dialect`."""
        return FusedRotary(
            cos=graph.constant(f"{name}.cos", cos),
            sin=graph.constant(f"{name}.sin", sin),
            first=graph.constant(f"{name}.first", np.zeros(1, dtype=np.int64)),
            num_rows=cos.shape[0],
            width=2 * cos.shape[1],
        )

    def attention(
        self,
        graph: GraphBuilder,
        operands: Sequence[ir.Value],
        heads: tuple[int, int],
        *,
        name: str,
        count: int = 1,
    ) -> ir.Value:
        """See :class:`dialect.Dialect`."""
        num_heads, head_dim = heads
        batches = [
            graph.reshape(value, (count, -1, num_heads * head_dim), name=f"{name}.{role}")
            for role, value in zip(("queries", "keys", "values"), operands, strict=True)
        ]
        mixed = graph.op(
            "MultiHeadAttention",
            batches,
            {"num_heads": num_heads},
            name=f"{name}.attention",
            domain=MICROSOFT,
        )
        return graph.reshape(mixed, (-1, num_heads * head_dim), name=f"{name}.mixed")


FUSED = FusedDialect()
