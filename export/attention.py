"""Attention and rotary positions for the graphs of the vision side: no masks, fixed lengths.

Values are (N, heads, head_dim), a row a patch or query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from adcopilot_edge.export.graph import MICROSOFT, GraphBuilder
from adcopilot_edge.export.windows import WindowGroup
from adcopilot_edge.types import FloatArray


@dataclass(frozen=True, slots=True)
class Rotary:
    """Rotary tables in a graph, one row a patch.

    first: the row of the first patch. num_rows: N. width: values of a head.
    """

    cos: ir.Value
    sin: ir.Value
    first: ir.Value
    num_rows: int
    width: int

    @classmethod
    def add(cls, graph: GraphBuilder, cos: FloatArray, sin: FloatArray) -> Rotary:
        """Put cosine and sine, each (N, head_dim / 2), into ``graph``."""
        return cls(
            cos=graph.constant("rotary.cos", cos),
            sin=graph.constant("rotary.sin", sin),
            first=graph.constant("rotary.first", np.zeros(1, dtype=np.int64)),
            num_rows=cos.shape[0],
            width=2 * cos.shape[1],
        )

    def rotate(self, graph: GraphBuilder, value: ir.Value, *, name: str) -> ir.Value:
        """Turn each head of ``value`` (N, H, head_dim), half against half; returns (N, H, d)."""
        # The operator reads (B, H, N, d) or (B, N, H * d); the second needs no transposition, and
        # takes the number of heads from the table.
        rows = graph.reshape(value, (1, self.num_rows, -1), name=f"{name}.rows")
        turned = graph.op(
            "RotaryEmbedding",
            [rows, self.first, self.cos, self.sin],
            {"interleaved": 0},
            name=f"{name}.turned",
            domain=MICROSOFT,
        )
        return graph.reshape(turned, (self.num_rows, -1, self.width), name=name)


def attention(
    graph: GraphBuilder,
    operands: Sequence[ir.Value],
    heads: tuple[int, int],
    *,
    name: str,
    count: int = 1,
) -> ir.Value:
    """Attend from queries (count * T, H, d) to keys and values (count * N, H, d).

    The rows are ``count`` sequences of equal length that do not see each other. heads: H and d.
    Returns (count * T, H * d).
    """
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


def window_attention(
    graph: GraphBuilder,
    operands: Sequence[ir.Value],
    groups: Sequence[WindowGroup],
    heads: tuple[int, int],
    *,
    name: str,
) -> ir.Value:
    """Attention inside each window; queries, keys and values (N, H, d) are sorted as ``groups``.

    Returns (N, H * d), sorted alike.
    """
    sizes = [group.num_patches for group in groups]
    parts = [
        graph.split(value, sizes, axis=0, name=f"{name}.{role}_by_size")
        for role, value in zip(("queries", "keys", "values"), operands, strict=True)
    ]
    mixed = [
        attention(graph, part, heads, name=f"{name}.{index}", count=group.count)
        for index, (group, *part) in enumerate(zip(groups, *parts, strict=True))
    ]
    if len(mixed) == 1:
        return mixed[0]
    return graph.op("Concat", mixed, {"axis": 0}, name=f"{name}.windows")
