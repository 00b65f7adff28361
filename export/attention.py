"""Attention inside the windows of a fixed grid: no masks, fixed lengths, any dialect."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from adcopilot_edge.export.dialect import Dialect
from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.windows import WindowGroup


def window_attention(
    graph: GraphBuilder,
    dialect: Dialect,
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
        dialect.attention(graph, part, heads, name=f"{name}.window{index}", count=group.count)
        for index, (group, *part) in enumerate(zip(groups, *parts, strict=True))
    ]
    if len(mixed) == 1:
        return mixed[0]
    return graph.op("Concat", mixed, {"axis": 0}, name=f"{name}.windows")
