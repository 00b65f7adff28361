"""INT8 products with one scale an output and, found in every run, one a row of the input.

Of all forms on a CPU the fastest for many rows, that is, for reading a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.linear import integer_product
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.record import Precision


@dataclass(frozen=True, slots=True)
class RowInt8Form:
    """INT8 weights, one scale an output; each row of the input has its own range.

    A row is divided by its largest magnitude before one range is found for all rows, and its
    outputs are multiplied by that again: onnxruntime's fused product knows one range only, and a
    token that stands out would leave the others few levels.
    """

    precision: ClassVar[Precision] = "int8"
    is_apart: ClassVar[bool] = True

    def apply(self, graph: GraphBuilder, value: ir.Value, layer: Linear) -> ir.Value:
        """See :class:`~adcopilot_edge.export.linear.LinearForm`."""
        name = layer.name
        last = graph.constant(f"{name}.last_axis", np.array([-1], dtype=np.int64))
        size = graph.op("Abs", [value], name=f"{name}.magnitude")
        size = graph.op("ReduceMax", [size, last], {"keepdims": 1}, name=f"{name}.largest")
        # A row of zeros stays one.
        least = graph.constant(f"{name}.least", np.array(np.finfo(np.float32).tiny))
        size = graph.op("Max", [size, least], name=f"{name}.row_scale")
        rows = graph.op("Div", [value, size], name=f"{name}.rows")
        product = integer_product(graph, rows, layer, name=f"{name}.product")
        bias = layer.bias()
        output = graph.op("Mul", [product, size], name=name if bias is None else f"{name}.scaled")
        if bias is None:
            return output
        return graph.add(output, graph.constant(f"{name}.bias", bias), name=name)

    def operand(self, layer: Linear) -> ir.DataType:
        """See :class:`~adcopilot_edge.export.linear.LinearForm`."""
        return ir.DataType.FLOAT

    def weight_bytes(self, outputs: int, inputs: int) -> int:
        """See :class:`~adcopilot_edge.export.linear.LinearForm`."""
        return outputs * (inputs + 5)
