"""Linear layers in INT8 by explicit quantize-dequantize pairs: the form that TensorRT compiles.

Symmetric: one scale a tensor for what goes in, from ranges seen on real pairs; one scale an output
for the weights. Attention projections and MLPs only; patch embedding, merger, the projector of the
comparison tokens and the anomaly map stay as they are (NVIDIA's own advice for transformers, and
where careless INT8 is known to fail).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.half import HalfForm, to_half
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.types import FloatArray

_LEVELS = 127
# Of the modules' own names: attention projections (tower, Comparison Encoder) and gated MLPs.
_QUANTIZED = re.compile(r"\.(qkv|proj|q_proj|kv|gate_up|down_proj)$")
_LEFT_OUT = re.compile(r"\.patch_embed\.")
# The smallest normal float16: a scale below it would lose its digits.
_SMALLEST_SCALE = float(np.finfo(np.float16).tiny)


def is_quantized(name: str) -> bool:
    """Whether the linear layer ``name`` becomes INT8."""
    return bool(_QUANTIZED.search(name)) and not _LEFT_OUT.search(name)


@dataclass(frozen=True, slots=True)
class QdqForm:
    """INT8 inside, the type of ``floats`` outside: float16, or float32 for its exact layers."""

    floats: HalfForm
    ranges: Ranges
    precision: ClassVar[Precision] = "int8"
    is_apart: ClassVar[bool] = False

    def apply(self, graph: GraphBuilder, value: ir.Value, layer: Linear) -> ir.Value:
        """See :class:`linear.LinearForm`. Raises CalibrationError where a range is missing."""
        if not is_quantized(layer.name):
            return self.floats.apply(graph, value, layer)
        name, dtype = layer.name, self.operand(layer)
        value = graph.cast(value, dtype, name=f"{name}.operand")
        step = np.array(
            max(self.ranges.level_bound(f"{name}.input") / _LEVELS, _SMALLEST_SCALE),
            dtype=dtype.numpy(),
        )
        scale = graph.constant(f"{name}.input_scale", step)
        # Says that the levels are signed; DequantizeLinear sees it, and needs no zero point.
        zero = graph.constant(f"{name}.input_zero", np.zeros((), np.int8))
        levels = graph.op(
            "QuantizeLinear", [value, scale, zero], name=f"{name}.levels", dtype=ir.DataType.INT8
        )
        value = graph.op("DequantizeLinear", [levels, scale], name=f"{name}.values", dtype=dtype)
        scales: list[AnyArray] = []

        def levels_of_rows() -> Iterator[NDArray[np.int8]]:
            for rows in layer.chunks():
                levels, steps = quantize_rows(rows, dtype)
                scales.append(steps)
                yield levels

        weight = graph.op(
            "DequantizeLinear",
            [
                graph.stream(f"{name}.weight_levels", np.int8, layer.shape, levels_of_rows),
                # Written behind the levels, which make them.
                graph.stream(
                    f"{name}.weight_scale", dtype.numpy(), layer.shape[:1], lambda: scales
                ),
            ],
            {"axis": 0},
            name=f"{name}.weight",
            dtype=dtype,
        )
        inputs = [value, weight]
        if (bias := layer.bias()) is not None:
            rounded = to_half(bias, name) if dtype == ir.DataType.FLOAT16 else bias
            inputs.append(graph.constant(f"{name}.bias", rounded))
        return graph.op("Gemm", inputs, {"transB": 1}, name=name)

    def operand(self, layer: Linear) -> ir.DataType:
        """See :class:`linear.LinearForm`."""
        return self.floats.operand(layer)

    def weight_bytes(self, outputs: int, inputs: int) -> int:
        """See :class:`linear.LinearForm`."""
        return outputs * (inputs + 2)


def quantize_rows(rows: FloatArray, dtype: ir.DataType) -> tuple[NDArray[np.int8], AnyArray]:
    """Levels (n, inputs) of the rows of a matrix, and their scales (n,) in ``dtype``.

    The levels are those of the rounded scales.
    """
    largest = np.abs(rows).max(axis=1)
    scales = np.maximum(largest / np.float32(_LEVELS), _SMALLEST_SCALE).astype(dtype.numpy())
    levels = np.rint(rows / scales.astype(np.float32)[:, None])
    return np.clip(levels, -_LEVELS, _LEVELS).astype(np.int8), scales
