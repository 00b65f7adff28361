"""Linear layers in static INT8 for the CPU: the levels of what goes in are fixed at the export.

In onnxruntime's own operators, because it does not fuse quantize-dequantize pairs around these
products (BENCHMARKS.md). UINT8 inputs with a zero point, from ranges seen on real pairs; which
layers is ``qdq.py``'s choice, all others stay in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.export.graph import MICROSOFT, GraphBuilder
from adcopilot_edge.export.linear import FloatForm, quantize_outputs
from adcopilot_edge.export.qdq import is_quantized
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.levels import Levels, levels_of

_FLOATS = FloatForm()


@dataclass(frozen=True, slots=True)
class StaticInt8Form:
    """INT8 weights, one scale an output; one scale and one zero point for what goes in.

    ``L.input_scale`` and ``L.input_zero`` of a layer ``L`` lie in the data file, where onnxruntime
    can put others in their place when a session opens. The graph's twin tells the ranges of what
    goes in, from which a device makes them.
    """

    ranges: Ranges
    precision: ClassVar[Precision] = "int8"
    is_apart: ClassVar[bool] = False

    def apply(self, graph: GraphBuilder, value: ir.Value, layer: Linear) -> ir.Value:
        """See :class:`linear.LinearForm`. Raises CalibrationError where a range is missing."""
        if not is_quantized(layer.name):
            return _FLOATS.apply(graph, value, layer)
        name = layer.name
        outputs, inputs = layer.shape
        levels = input_levels(self.ranges, f"{name}.input")
        graph.watch(value, f"{name}.input")
        scale = graph.stream(
            f"{name}.input_scale", np.float32, (), lambda: [np.array(levels.scale, np.float32)]
        )
        zero = graph.stream(
            f"{name}.input_zero", np.uint8, (), lambda: [np.array(levels.zero, np.uint8)]
        )
        quantized = cache(lambda: quantize_outputs(layer.matrix()))
        weight = graph.stream(
            f"{name}.weight", np.int8, (inputs, outputs), lambda: [quantized()[0]]
        )
        weight_scale = graph.stream(
            f"{name}.weight_scale", np.float32, (outputs,), lambda: [quantized()[1]]
        )
        quantized_value = graph.op(
            "QuantizeLinear", [value, scale, zero], name=f"{name}.levels", dtype=ir.DataType.UINT8
        )
        operands: list[ir.Value | None] = [quantized_value, weight, scale, weight_scale, zero]
        if (bias := layer.bias()) is not None:
            operands += [None, graph.constant(f"{name}.bias", bias)]
        return graph.op(
            "MatMulIntegerToFloat",
            operands,
            name=name,
            domain=MICROSOFT,
            dtype=ir.DataType.FLOAT,
        )

    def operand(self, layer: Linear) -> ir.DataType:
        """See :class:`linear.LinearForm`."""
        return ir.DataType.FLOAT

    def weight_bytes(self, outputs: int, inputs: int) -> int:
        """See :class:`linear.LinearForm`; of a layer that is quantized."""
        return outputs * (inputs + 4)


def input_levels(ranges: Ranges, name: str) -> Levels:
    """The levels of the tensor ``name``: over what was seen, and no further than its clip.

    Raises:
        CalibrationError: Nothing was seen of it.
    """
    bound = ranges.level_bound(name)
    low, high = ranges.table[name]
    return levels_of(max(low, -bound), min(high, bound))
