"""In which operators a graph of the vision side is written: the seam between steps and target.

``fused.py`` has onnxruntime's operators, ``standard.py`` ONNX's own, which compilers read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import onnx_ir as ir

from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.types import FloatArray


class Rotary(Protocol):
    """Rotary tables in a graph, one row a patch."""

    def rotate(self, graph: GraphBuilder, value: ir.Value, *, name: str) -> ir.Value:
        """Turn each head of ``value`` (N, H, head_dim), half against half; returns (N, H, d)."""
        ...


class Dialect(Protocol):
    """The operators of a target. All values are (N, ...), a row a patch or query."""

    @property
    def width_multiple(self) -> int:
        """The gated MLPs are zero-padded to a multiple of this; exact, since silu(0) * 0 is 0."""
        ...

    def rms_norm(
        self, graph: GraphBuilder, value: ir.Value, gain: FloatArray, eps: float, *, name: str
    ) -> ir.Value:
        """Root-mean-square normalisation over the last axis, times ``gain``, in float32."""
        ...

    def gelu(self, graph: GraphBuilder, value: ir.Value, *, name: str) -> ir.Value:
        """The exact GELU."""
        ...

    def rotary(
        self, graph: GraphBuilder, cos: FloatArray, sin: FloatArray, *, name: str = "rotary"
    ) -> Rotary:
        """Put cosine and sine, each (N, head_dim / 2), into ``graph`` under ``name``."""
        ...

    def attention(
        self,
        graph: GraphBuilder,
        operands: Sequence[ir.Value],
        heads: tuple[int, int],
        *,
        name: str,
        count: int = 1,
    ) -> ir.Value:
        """Attend from queries (count * T, H, d) to keys and values (count * N, H, d).

        The rows are ``count`` sequences of equal length that do not see each other. heads: H and
        d. Returns (count * T, H * d).
        """
        ...
