"""ONNX graphs of one product, written byte by byte, to measure what a provider can do.

A device has no onnx package. The field numbers are those of ``onnx.proto3``, the few that a matrix
product with constant weights needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from adcopilot_edge.runtime.tensors import AnyArray

_IR_VERSION, _OPSET = 8, 17
_DTYPE_CODES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "float16": 10}
# Field numbers by message.
_MODEL_IR, _MODEL_GRAPH, _MODEL_OPSET = 1, 7, 8
_OPSET_VERSION = 2
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 2, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP = 1, 2, 4
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_VALUE_NAME, _VALUE_TYPE = 1, 2


def product_graph(num_rows: int, weights: AnyArray, *, op_type: str = "MatMul") -> bytes:
    """A model ``product`` = ``rows`` @ weights.

    Args:
        num_rows: M; ``rows`` is (M, K), of the weights' dtype, or uint8 for ``MatMulInteger``.
        weights: (K, N), float32, float16, or int8 for ``MatMulInteger``, whose product is int32.
        op_type: ``MatMul`` or ``MatMulInteger``.
    """
    is_integer = op_type == "MatMulInteger"
    row_dtype: DTypeLike = np.uint8 if is_integer else weights.dtype
    product_dtype: DTypeLike = np.int32 if is_integer else weights.dtype
    inner, width = weights.shape
    node = b"".join(
        [
            _bytes(_NODE_INPUT, b"rows"),
            _bytes(_NODE_INPUT, b"weights"),
            _bytes(_NODE_OUTPUT, b"product"),
            _bytes(_NODE_OP, op_type.encode()),
        ]
    )
    tensor = b"".join(
        [
            *(_number(_TENSOR_DIMS, length) for length in weights.shape),
            _number(_TENSOR_TYPE, _code(weights.dtype)),
            _bytes(_TENSOR_NAME, b"weights"),
            _bytes(_TENSOR_RAW, np.ascontiguousarray(weights).tobytes()),
        ]
    )
    graph = b"".join(
        [
            _bytes(_GRAPH_NODE, node),
            _bytes(_GRAPH_NAME, b"product"),
            _bytes(_GRAPH_INITIALIZER, tensor),
            _bytes(_GRAPH_INPUT, _value(b"rows", row_dtype, (num_rows, inner))),
            _bytes(_GRAPH_OUTPUT, _value(b"product", product_dtype, (num_rows, width))),
        ]
    )
    return b"".join(
        [
            _number(_MODEL_IR, _IR_VERSION),
            _bytes(_MODEL_GRAPH, graph),
            _bytes(_MODEL_OPSET, _number(_OPSET_VERSION, _OPSET)),
        ]
    )


def _value(name: bytes, dtype: DTypeLike, shape: Sequence[int]) -> bytes:
    """A ValueInfoProto: name, dtype and shape of an input or output."""
    dims = b"".join(_bytes(1, _number(1, length)) for length in shape)
    tensor_type = _number(1, _code(dtype)) + _bytes(2, dims)
    return _bytes(_VALUE_NAME, name) + _bytes(_VALUE_TYPE, _bytes(1, tensor_type))


def _code(dtype: DTypeLike) -> int:
    return _DTYPE_CODES[np.dtype(dtype).name]


def _number(field: int, value: int) -> bytes:
    """A field of wire type 0."""
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    """A field of wire type 2."""
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
