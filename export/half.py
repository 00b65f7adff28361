"""Linear layers in float16, but for those whose values float16 can't hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcopilot_edge.errors import CheckpointError
from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.linear import FloatForm
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.record import Precision
from adcopilot_edge.types import FloatArray

HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class HalfForm:
    """float16 weights and values; the layers named in ``exact`` stay float32 throughout."""

    exact: frozenset[str] = field(default_factory=frozenset)
    precision: ClassVar[Precision] = "fp16"
    is_apart: ClassVar[bool] = False

    def apply(self, graph: GraphBuilder, value: ir.Value, layer: Linear) -> ir.Value:
        """See :class:`linear.LinearForm`. Raises CheckpointError where a weight overflows."""
        value = graph.cast(value, self.operand(layer), name=f"{layer.name}.operand")
        if layer.name in self.exact:
            return FloatForm().apply(graph, value, layer)
        weight = graph.stream(
            f"{layer.name}.weight", np.float16, layer.shape, lambda: _rounded(layer)
        )
        inputs = [value, weight]
        if (bias := layer.bias()) is not None:
            inputs.append(graph.constant(f"{layer.name}.bias", to_half(bias, layer.name)))
        return graph.op("Gemm", inputs, {"transB": 1}, name=layer.name)

    def operand(self, layer: Linear) -> ir.DataType:
        """See :class:`linear.LinearForm`."""
        return ir.DataType.FLOAT if layer.name in self.exact else ir.DataType.FLOAT16

    def weight_bytes(self, outputs: int, inputs: int) -> int:
        """See :class:`linear.LinearForm`."""
        return 2 * outputs * inputs


def to_half(array: FloatArray, name: str) -> NDArray[np.float16]:
    """``array`` in float16. Raises CheckpointError where it has values beyond that."""
    if np.abs(array).max(initial=0.0) > HALF_MAX:
        raise CheckpointError(
            f"{name} has weights beyond float16, which ends at {HALF_MAX:g}. Export with "
            "--target cpu, which computes in float32."
        )
    return array.astype(np.float16)


def _rounded(layer: Linear) -> Iterator[NDArray[np.float16]]:
    """The rows of the layer's matrix in float16."""
    for rows in layer.chunks():
        yield to_half(rows, layer.name)
