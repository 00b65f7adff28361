"""What TensorRT's ONNX parser reads, release by release, and a check of a graph against it.

The table lists the operators of this exporter and those that the next releases brought for such
models. Sources: the operator lists of onnx-tensorrt (``docs/operators.md`` of 8.5 for the oldest,
10.15 for the newest), its changelog, and the release notes of TensorRT 10.14 and 10.15. An operator
that is not in the table is refused: better here than on the device, after an hour of copying.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import onnx
from onnx import TensorProto

from adcopilot_edge.errors import ExportError

Release: TypeAlias = tuple[int, int]

# JetPack 6; JetPack 7.2; the newest.
RELEASES: tuple[Release, ...] = ((10, 3), (10, 16), (11, 4))
_OLDEST, _NEWEST = RELEASES[0], RELEASES[-1]
_OPSET_LIMITS: dict[Release, int] = {(10, 3): 20, (10, 16): 24, (11, 4): 24}
# A graph is one protobuf, which ends at 2 GiB; weights lie beside it.
_MAX_PROTO_BYTES = (1 << 31) - 1

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16})
_NUMBERS = _FLOATS | {TensorProto.INT32, TensorProto.INT64}
_ANY = _NUMBERS | {TensorProto.BOOL}
_READ = _ANY | {TensorProto.INT8, TensorProto.UINT8}
_NAMES = {value: name for name, value in TensorProto.DataType.items()}


@dataclass(frozen=True, slots=True)
class Operator:
    """What TensorRT reads of an operator; since: the first release. types: of its first input."""

    types: frozenset[int]
    since: Release = _OLDEST


OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(("Add", "Div", "Mul", "Sub", "Max", "Min", "Neg"), Operator(_NUMBERS)),
    **dict.fromkeys(("Erf", "Exp", "Sigmoid", "Softmax", "Sqrt", "Tanh"), Operator(_FLOATS)),
    **dict.fromkeys(("Gemm", "MatMul", "LayerNormalization"), Operator(_FLOATS)),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), Operator(_NUMBERS)),
    **dict.fromkeys(("Concat", "Gather", "Identity", "Reshape", "Slice", "Split"), Operator(_ANY)),
    **dict.fromkeys(("Squeeze", "Transpose", "Unsqueeze", "Cast"), Operator(_ANY)),
    "Attention": Operator(_FLOATS, since=(10, 14)),
    "DequantizeLinear": Operator(frozenset({TensorProto.INT8})),
    "QuantizeLinear": Operator(_FLOATS),
    "RMSNormalization": Operator(_FLOATS, since=(10, 15)),
    "RotaryEmbedding": Operator(_FLOATS, since=(10, 15)),
}


def lint_graph(path: Path, releases: tuple[Release, ...] = RELEASES) -> None:
    """Raise unless every one of ``releases`` can read the graph at ``path``.

    Raises:
        ExportError: With all findings, one for each kind of node and release.
    """
    if found := findings(path, releases):
        raise ExportError(
            f"{path.name} can't be built by TensorRT: {'; '.join(found)}. "
            "Export with --target cpu or --target cuda, or choose another precision."
        )


def findings(path: Path, releases: tuple[Release, ...] = RELEASES) -> list[str]:
    """What some of ``releases`` lack for the graph at ``path``, each kind once."""
    model = onnx.load(path, load_external_data=False)
    return list(dict.fromkeys(_findings(model, path.stat().st_size, releases)))


def _findings(model: onnx.ModelProto, size: int, releases: tuple[Release, ...]) -> Iterator[str]:
    """What ``releases`` lack of what the model needs."""
    if size > _MAX_PROTO_BYTES:
        yield f"the graph without its weights has {size} bytes, {_MAX_PROTO_BYTES} are the most"
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    for release in releases:
        if opset > _OPSET_LIMITS[release]:
            yield f"opset {opset}, TensorRT {_name(release)} ends at {_OPSET_LIMITS[release]}"
    types = _types(model.graph)
    zeros = {item.name for item in model.graph.initializer if _is_zero(item)}
    for node in model.graph.node:
        yield from _node_findings(node, types, zeros, releases)
    for item in model.graph.input:
        for length in item.type.tensor_type.shape.dim:
            if not length.HasField("dim_value"):
                yield f"input {item.name} has no fixed shape"


def _node_findings(
    node: onnx.NodeProto,
    types: dict[str, int],
    zeros: set[str],
    releases: tuple[Release, ...],
) -> Iterator[str]:
    if node.domain not in ("", "ai.onnx"):
        yield f"{node.domain}.{node.op_type} is no operator of ONNX"
        return
    operator = OPERATORS.get(node.op_type)
    if operator is None:
        yield f"{node.op_type} is not in the table of what TensorRT reads"
        return
    for release in releases:
        if release < operator.since:
            yield f"TensorRT {_name(release)} has no {node.op_type}"
    kind = types.get(node.input[0])
    if kind is None:
        yield f"the type of {node.input[0]} is not known"
    elif kind not in operator.types:
        yield f"TensorRT takes no {_NAMES[kind].lower()} in {node.op_type}"
    for made in {types[name] for name in node.output if name in types} - _READ:
        yield f"{node.op_type} makes {_NAMES[made].lower()}, which TensorRT does not have"
    if node.op_type == "QuantizeLinear" and len(node.input) < 3:
        yield f"{node.name} has no zero point, so its levels are unsigned"
    if node.op_type in ("QuantizeLinear", "DequantizeLinear") and not {*node.input[2:]} <= zeros:
        yield f"{node.name} has a zero point that is not 0, or not in the graph itself"


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    """The element type of every tensor, as the exporter wrote it down."""
    values = [*graph.input, *graph.value_info, *graph.output]
    types = {item.name: item.type.tensor_type.elem_type for item in values}
    return {**types, **{item.name: item.data_type for item in graph.initializer}}


def _is_zero(tensor: TensorProto) -> bool:
    """Whether the tensor is small, in the graph, and all zero."""
    return not tensor.external_data and not onnx.numpy_helper.to_array(tensor).any()


def _name(release: Release) -> str:
    return ".".join(map(str, release))
