"""The forms that a linear layer takes in a graph: float32, dynamic INT8, weight-only blocks.

Each form reads the layer's weights, converts them and hands them to the graph's data file, so that
no more than one layer is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcopilot_edge.export.graph import MICROSOFT, GraphBuilder
from adcopilot_edge.export.rounding import Bits, Rounding, RoundToNearest
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.types import FloatArray

# The largest level of a weight beside UINT8 inputs. Without VNNI, x86 sums two products of 255 * 64
# in int16, which just fits; levels up to 127 saturate there, and give wrong sums on such a device
# only.
WEIGHT_LIMIT = 64


class LinearForm(Protocol):
    """How the linear layers of a graph compute."""

    @property
    def precision(self) -> Precision:
        """The precision of the weights."""
        ...

    @property
    def is_apart(self) -> bool:
        """Whether layers of one input are faster one by one than stacked and split again."""
        ...

    def apply(self, graph: GraphBuilder, value: ir.Value, layer: Linear) -> ir.Value:
        """Add the layer's product with ``value`` (T, inputs); returns (T, outputs)."""
        ...

    def operand(self, layer: Linear) -> ir.DataType:
        """The type that the layer wants its input in; another one is converted."""
        ...

    def weight_bytes(self, outputs: int, inputs: int) -> int:
        """The size of a layer's weights in the data file."""
        ...


@dataclass(frozen=True, slots=True)
class FloatForm:
    """float32 weights as the checkpoint has them, one row an output."""

    precision: ClassVar[Precision] = "fp32"
    is_apart: ClassVar[bool] = False

    def apply(self, graph: GraphBuilder, value: ir.Value, layer: Linear) -> ir.Value:
        """See :class:`LinearForm`."""
        weight = graph.stream(f"{layer.name}.weight", np.float32, layer.shape, layer.chunks)
        inputs = [value, weight]
        if (bias := layer.bias()) is not None:
            inputs.append(graph.constant(f"{layer.name}.bias", bias))
        return graph.op("Gemm", inputs, {"transB": 1}, name=layer.name)

    def operand(self, layer: Linear) -> ir.DataType:
        """See :class:`LinearForm`."""
        return ir.DataType.FLOAT

    def weight_bytes(self, outputs: int, inputs: int) -> int:
        """See :class:`LinearForm`."""
        return 4 * outputs * inputs


@dataclass(frozen=True, slots=True)
class DynamicInt8Form:
    """INT8 weights, one scale an output; the input is quantized to UINT8 as it comes, per call.

    Layers apart share that: onnxruntime finds that they begin alike.
    """

    precision: ClassVar[Precision] = "int8"
    is_apart: ClassVar[bool] = True

    def apply(self, graph: GraphBuilder, value: ir.Value, layer: Linear) -> ir.Value:
        """See :class:`LinearForm`."""
        bias = layer.bias()
        name = layer.name if bias is None else f"{layer.name}.product"
        output = integer_product(graph, value, layer, name=name)
        if bias is None:
            return output
        return graph.add(output, graph.constant(f"{layer.name}.bias", bias), name=layer.name)

    def operand(self, layer: Linear) -> ir.DataType:
        """See :class:`LinearForm`."""
        return ir.DataType.FLOAT

    def weight_bytes(self, outputs: int, inputs: int) -> int:
        """See :class:`LinearForm`."""
        return outputs * (inputs + 5)


def integer_product(graph: GraphBuilder, value: ir.Value, layer: Linear, *, name: str) -> ir.Value:
    """Add the product with INT8 weights, without a bias, called ``name``; (T, outputs).

    The nodes are those that onnxruntime makes one of on a CPU.
    """
    outputs, inputs = layer.shape
    quantized = cache(lambda: quantize_outputs(layer.matrix()))
    weight = graph.stream(
        f"{layer.name}.weight", np.int8, (inputs, outputs), lambda: [quantized()[0]]
    )
    weight_zero = graph.constant(f"{layer.name}.weight_zero", np.zeros(outputs, np.int8))
    weight_scale = graph.stream(
        f"{layer.name}.weight_scale", np.float32, (outputs,), lambda: [quantized()[1]]
    )
    levels, scale, zero = graph.op_outputs(
        "DynamicQuantizeLinear", [value], name=f"{layer.name}.levels", num_outputs=3
    )
    levels.dtype = zero.dtype = ir.DataType.UINT8
    product = graph.op(
        "MatMulInteger",
        [levels, weight, zero, weight_zero],
        name=f"{layer.name}.integer",
        dtype=ir.DataType.INT32,
    )
    product = graph.cast(product, ir.DataType.FLOAT, name=f"{layer.name}.float")
    scale = graph.op("Mul", [scale, weight_scale], name=f"{layer.name}.scale")
    return graph.op("Mul", [product, scale], name=name)


def quantize_outputs(matrix: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """Levels (inputs, outputs) and scales (outputs,) of a weight matrix (outputs, inputs).

    For products with UINT8 inputs: no level is above ``WEIGHT_LIMIT``.
    """
    scales = np.abs(matrix).max(axis=1) / np.float32(WEIGHT_LIMIT)
    scales[scales == 0] = 1
    levels = np.rint(matrix / scales[:, None]).astype(np.int8)
    return np.ascontiguousarray(levels.T), scales


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockForm:
    """Weight-only integers in blocks along the input, each with a scale and a zero point.

    rounding: how levels are chosen. dtype: of input, scales and output.
    """

    is_apart: ClassVar[bool] = False
    bits: Bits
    block_size: int
    rounding: Rounding = field(default_factory=RoundToNearest)
    accuracy_level: int = 0
    dtype: ir.DataType = ir.DataType.FLOAT

    @property
    def precision(self) -> Precision:
        """The precision of the weights."""
        return "int4" if self.bits == 4 else "int8"

    def apply(self, graph: GraphBuilder, value: ir.Value, layer: Linear) -> ir.Value:
        """See :class:`LinearForm`."""
        outputs, inputs = layer.shape
        blocks = -(-inputs // self.block_size)
        blob = self.block_size * self.bits // 8
        scales: list[AnyArray] = []
        zeros: list[AnyArray] = []
        numpy_type = self.dtype.numpy()
        zero_type = numpy_type if self.rounding.has_float_zeros else np.dtype(np.uint8)

        def packed() -> Iterator[NDArray[np.uint8]]:
            for rows in layer.chunks():
                found = self.rounding.quantize(rows, layer, self.bits, self.block_size)
                scales.append(found.scales.astype(numpy_type))
                zeros.append(found.zeros.astype(zero_type))
                yield found.levels

        operands: list[ir.Value | None] = [
            graph.cast(value, self.dtype, name=f"{layer.name}.operand"),
            graph.stream(f"{layer.name}.weight", np.uint8, (outputs, blocks, blob), packed),
            # Written behind the levels, which make them.
            graph.stream(f"{layer.name}.scales", numpy_type, (outputs, blocks), lambda: scales),
            graph.stream(
                f"{layer.name}.zero_points",
                zero_type,
                (outputs, self._num_zeros(blocks)),
                lambda: zeros,
            ),
        ]
        if (bias := layer.bias()) is not None:
            operands += [None, graph.constant(f"{layer.name}.bias", bias.astype(numpy_type))]
        attributes = {
            "K": inputs,
            "N": outputs,
            "bits": self.bits,
            "block_size": self.block_size,
            "accuracy_level": self.accuracy_level,
        }
        return graph.op("MatMulNBits", operands, attributes, name=layer.name, domain=MICROSOFT)

    def operand(self, layer: Linear) -> ir.DataType:
        """See :class:`LinearForm`."""
        return self.dtype

    def weight_bytes(self, outputs: int, inputs: int) -> int:
        """See :class:`LinearForm`."""
        blocks = -(-inputs // self.block_size)
        size = int(self.dtype.itemsize)
        zero_size = size if self.rounding.has_float_zeros else 1
        levels = blocks * self.block_size * self.bits // 8
        return outputs * (levels + size * blocks + zero_size * self._num_zeros(blocks))

    def _num_zeros(self, blocks: int) -> int:
        """Values that the zero points of a row of ``blocks`` take."""
        return blocks if self.rounding.has_float_zeros else -(-blocks * self.bits // 8)
