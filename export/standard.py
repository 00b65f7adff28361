"""The dialect of compilers: ONNX's own operators, none newer than TensorRT 10.3 reads.

Norms, rotation and GELU compute in float32 whatever the type of the linear layers: they cost little
there, and float16 is known to fail in them. Attention computes in the type of its operands, but for
the blocks whose scores are too large for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.types import FloatArray

_FLOAT = ir.DataType.FLOAT


@dataclass(frozen=True, slots=True)
class StandardRotary:
    """Rotary tables (N, 1, head_dim / 2); see :class:`dialect.Rotary`."""

    cos: ir.Value
    sin: ir.Value
    half: int

    def rotate(self, graph: GraphBuilder, value: ir.Value, *, name: str) -> ir.Value:
        """See :class:`dialect.Rotary`."""
        assert value.dtype is not None
        exact = graph.cast(value, _FLOAT, name=f"{name}.exact")
        left, right = graph.split(exact, (self.half, self.half), axis=-1, name=f"{name}.halves")
        parts = [
            graph.op(
                sign,
                [
                    graph.op("Mul", [one, self.cos], name=f"{name}.{side}_cos"),
                    graph.op("Mul", [other, self.sin], name=f"{name}.{side}_sin"),
                ],
                name=f"{name}.{side}",
            )
            for side, sign, one, other in (
                ("left", "Sub", left, right),
                ("right", "Add", right, left),
            )
        ]
        turned = graph.op("Concat", parts, {"axis": -1}, name=f"{name}.turned")
        return graph.cast(turned, value.dtype, name=name)


@dataclass(frozen=True, slots=True)
class StandardDialect:
    """ONNX's own operators; see :class:`dialect.Dialect`.

    exact_attention: modules whose scores and softmax are float32. observes_scores: whether the
    range of the scores before each softmax becomes an output of the graph.
    """

    exact_attention: frozenset[str] = field(default_factory=frozenset)
    observes_scores: bool = False
    # Tensor cores read rows of 32 INT8 values at a time; Qwen2.5-VL's 3420 becomes 3424.
    width_multiple: int = 32

    def rms_norm(
        self, graph: GraphBuilder, value: ir.Value, gain: FloatArray, eps: float, *, name: str
    ) -> ir.Value:
        """See :class:`dialect.Dialect`."""
        value = graph.cast(value, _FLOAT, name=f"{name}.exact")
        axes = graph.constant(f"{name}.axes", np.array([-1]))
        square = graph.op("Mul", [value, value], name=f"{name}.square")
        mean = graph.op("ReduceMean", [square, axes], name=f"{name}.mean")
        epsilon = graph.constant(f"{name}.epsilon", np.array(eps, dtype=np.float32))
        root = graph.op(
            "Sqrt", [graph.add(mean, epsilon, name=f"{name}.shifted")], name=f"{name}.root"
        )
        scaled = graph.op("Div", [value, root], name=f"{name}.scaled")
        return graph.op("Mul", [scaled, graph.constant(f"{name}.weight", gain)], name=name)

    def gelu(self, graph: GraphBuilder, value: ir.Value, *, name: str) -> ir.Value:
        """See :class:`dialect.Dialect`. x / 2 * (1 + erf(x / sqrt(2)))."""
        value = graph.cast(value, _FLOAT, name=f"{name}.exact")
        scale, one, half = (
            graph.constant(f"{name}.{word}", np.array(number, dtype=np.float32))
            for word, number in (("scale", math.sqrt(0.5)), ("one", 1.0), ("half", 0.5))
        )
        inner = graph.op("Mul", [value, scale], name=f"{name}.inner")
        share = graph.add(graph.op("Erf", [inner], name=f"{name}.erf"), one, name=f"{name}.share")
        halved = graph.op("Mul", [value, half], name=f"{name}.halved")
        return graph.op("Mul", [halved, share], name=name)

    def rotary(
        self, graph: GraphBuilder, cos: FloatArray, sin: FloatArray, *, name: str = "rotary"
    ) -> StandardRotary:
        """See :class:`dialect.Dialect`."""
        return StandardRotary(
            cos=graph.constant(f"{name}.cos", cos[:, None]),
            sin=graph.constant(f"{name}.sin", sin[:, None]),
            half=cos.shape[1],
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
        """See :class:`dialect.Dialect`. No mask and fixed lengths: what compilers fuse."""
        num_heads, head_dim = heads
        is_exact = name.split(".window")[0] in self.exact_attention
        queries, keys, values = (
            graph.op(
                "Transpose",
                [graph.reshape(value, (count, -1, num_heads, head_dim), name=f"{name}.{role}")],
                {"perm": order},
                name=f"{name}.{role}_by_head",
            )
            for role, value, order in zip(
                ("queries", "keys", "values"),
                operands,
                ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)),
                strict=True,
            )
        )
        assert values.dtype is not None
        if is_exact:
            queries = graph.cast(queries, _FLOAT, name=f"{name}.queries_exact")
            keys = graph.cast(keys, _FLOAT, name=f"{name}.keys_exact")
        assert queries.dtype is not None
        # Before the product: the scores of large heads leave the range of float16 otherwise.
        factor = np.array(head_dim**-0.5, dtype=queries.dtype.numpy())
        scaled = graph.op(
            "Mul", [queries, graph.constant(f"{name}.factor", factor)], name=f"{name}.scaled"
        )
        scores = graph.op("MatMul", [scaled, keys], name=f"{name}.scores")
        if self.observes_scores:
            graph.observe(scores, f"{name}.scores")
        weights = graph.op("Softmax", [scores], {"axis": -1}, name=f"{name}.weights")
        weights = graph.cast(weights, values.dtype, name=f"{name}.weights_rounded")
        mixed = graph.op("MatMul", [weights, values], name=f"{name}.mixed_by_head")
        mixed = graph.op("Transpose", [mixed], {"perm": (0, 2, 1, 3)}, name=f"{name}.mixed_rows")
        return graph.reshape(mixed, (-1, num_heads * head_dim), name=f"{name}.mixed")
