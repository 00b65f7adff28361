"""What TensorRT reads, release by release: a graph made for each finding, and those we write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny import tiny_checkpoint

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import ExportError
from adcopilot_edge.export import tensorrt
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.fused import FUSED
from adcopilot_edge.export.linear import DynamicInt8Form, FloatForm
from adcopilot_edge.export.tensorrt import OPERATORS, RELEASES, findings, lint_graph
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.record import Precision

pytestmark = pytest.mark.torch

FLOAT, HALF, INT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    *,
    constants: Sequence[onnx.TensorProto] = (),
    types: Mapping[str, int] | None = None,
    opset: int = 20,
    shape: Sequence[int | str] = (2, 4),
) -> Path:
    """A graph from ``x`` to the last node's output; types: of what is between, else float32."""
    last = nodes[-1].output[0]
    known = types or {}
    between = {name for node in nodes for name in node.output} - {last}
    graph = helper.make_graph(
        nodes,
        "bad",
        [helper.make_tensor_value_info("x", known.get("x", FLOAT), shape)],
        [helper.make_tensor_value_info(last, known.get(last, FLOAT), None)],
        list(constants),
        value_info=[
            helper.make_tensor_value_info(name, known.get(name, FLOAT), None) for name in between
        ],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), path)
    return path


def node(op_type: str, *inputs: str, to: str = "y", domain: str = "") -> onnx.NodeProto:
    return helper.make_node(op_type, inputs, [to], name=f"the {op_type}", domain=domain)


def constant(name: str, array: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def finding(path: Path, **how: object) -> str:
    with pytest.raises(ExportError) as caught:
        lint_graph(path, **how)  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(f"{path.name} can't be built by TensorRT: ")
    assert message.endswith("or choose another precision.")
    return message.split(": ", 1)[1].split(". Export with")[0]


def test_an_operator_of_somebody_else(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.onnx", [node("MatMulNBits", "x", domain="com.microsoft")])
    assert finding(path) == "com.microsoft.MatMulNBits is no operator of ONNX"


def test_an_operator_that_is_not_in_the_table(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.onnx", [node("MatMulInteger", "x", "x")])
    assert finding(path) == "MatMulInteger is not in the table of what TensorRT reads"


@pytest.mark.parametrize(
    ("op_type", "lacking"),
    [
        ("RMSNormalization", ["10.3"]),
        ("RotaryEmbedding", ["10.3"]),
        ("Attention", ["10.3"]),
    ],
)
def test_an_operator_of_a_later_release(tmp_path: Path, op_type: str, lacking: list[str]) -> None:
    path = write(tmp_path / "bad.onnx", [node(op_type, "x")])
    expected = "; ".join(f"TensorRT {release} has no {op_type}" for release in lacking)
    assert finding(path) == expected
    lint_graph(path, ((10, 16), (11, 4)))


def test_an_opset_that_is_too_new(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.onnx", [node("Sqrt", "x")], opset=23)
    assert finding(path) == "opset 23, TensorRT 10.3 ends at 20"
    lint_graph(path, ((11, 4),))
    path = write(tmp_path / "newer.onnx", [node("Sqrt", "x")], opset=25)
    assert finding(path).count("opset 25") == 3


@pytest.mark.parametrize(
    ("op_type", "kind", "word"),
    [
        ("Softmax", TensorProto.INT32, "int32"),
        ("MatMul", TensorProto.DOUBLE, "double"),
        ("Add", TensorProto.BOOL, "bool"),
        ("DequantizeLinear", TensorProto.UINT8, "uint8"),
    ],
)
def test_a_type_that_an_operator_does_not_take(
    tmp_path: Path, op_type: str, kind: int, word: str
) -> None:
    path = write(tmp_path / "bad.onnx", [node(op_type, "x", "x")], types={"x": kind})
    assert f"TensorRT takes no {word} in {op_type}" in finding(path)


def test_a_type_that_tensorrt_does_not_have(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.onnx", [node("Cast", "x")], types={"y": TensorProto.DOUBLE})
    assert finding(path) == "Cast makes double, which TensorRT does not have"


def test_a_tensor_of_unknown_type(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.onnx", [node("Sqrt", "from nowhere")])
    assert finding(path) == "the type of from nowhere is not known"


QUANTIZED = {"levels": INT8}


def quantized(*zero: str) -> list[onnx.NodeProto]:
    return [
        node("QuantizeLinear", "x", "scale", *zero, to="levels"),
        node("DequantizeLinear", "levels", "scale", *zero),
    ]


def test_a_zero_point_that_is_zero_is_read(tmp_path: Path) -> None:
    constants = [constant("scale", np.float32(0.1)), constant("zero", np.int8(0))]
    nodes = quantized("zero")
    path = write(tmp_path / "good.onnx", nodes, constants=constants, types=QUANTIZED)
    assert findings(path) == []
    del nodes[1].input[2]
    path = write(tmp_path / "good.onnx", nodes, constants=constants, types=QUANTIZED)
    assert findings(path) == []


def test_a_zero_point_that_is_not_zero(tmp_path: Path) -> None:
    constants = [constant("scale", np.float32(0.1)), constant("zero", np.int8(3))]
    path = write(tmp_path / "bad.onnx", quantized("zero"), constants=constants, types=QUANTIZED)
    assert finding(path) == (
        "the QuantizeLinear has a zero point that is not 0, or not in the graph itself; "
        "the DequantizeLinear has a zero point that is not 0, or not in the graph itself"
    )


def test_a_zero_point_that_can_not_be_seen(tmp_path: Path) -> None:
    zero = constant("zero", np.int8(0))
    zero.ClearField("raw_data")
    zero.data_location = TensorProto.EXTERNAL
    zero.external_data.add(key="location", value="bad.onnx.data")
    constants = [constant("scale", np.float32(0.1)), zero]
    path = write(tmp_path / "bad.onnx", quantized("zero"), constants=constants, types=QUANTIZED)
    assert "or not in the graph itself" in finding(path)


def test_levels_without_a_sign(tmp_path: Path) -> None:
    constants = [constant("scale", np.float32(0.1))]
    path = write(tmp_path / "bad.onnx", quantized(), constants=constants, types=QUANTIZED)
    assert finding(path) == "the QuantizeLinear has no zero point, so its levels are unsigned"


def test_a_shape_that_is_not_fixed(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.onnx", [node("Sqrt", "x")], shape=("N", 4))
    assert finding(path) == "input x has no fixed shape"


def test_a_graph_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "bad.onnx", [node("Sqrt", "x")])
    monkeypatch.setattr(tensorrt, "_MAX_PROTO_BYTES", 10)
    size = path.stat().st_size
    assert finding(path) == f"the graph without its weights has {size} bytes, 10 are the most"


def test_each_finding_comes_once_and_all_at_once(tmp_path: Path) -> None:
    nodes = [
        node("NonZero", "x", to="a"),
        node("NonZero", "x", to="b"),
        node("Softmax", "x"),
    ]
    path = write(tmp_path / "bad.onnx", nodes, types={"x": TensorProto.INT32})
    assert finding(path) == (
        "NonZero is not in the table of what TensorRT reads; TensorRT takes no int32 in Softmax"
    )


@pytest.mark.parametrize("vision", ["fp16", "int8"])
def test_what_an_export_writes_passes(
    tensorrt_bundles: dict[Precision, Bundle], vision: Precision
) -> None:
    for graph in ("vision.onnx", "comparison.onnx"):
        path = tensorrt_bundles[vision].file(graph)
        assert findings(path) == []
        lint_graph(path)  # and what raises agrees


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (FloatForm(), "com.microsoft.RotaryEmbedding is no operator of ONNX"),
        (DynamicInt8Form(), "DynamicQuantizeLinear is not in the table"),
    ],
)
def test_what_is_written_for_other_targets_does_not(
    tmp_path: Path, form: FloatForm | DynamicInt8Form, words: str
) -> None:
    checkpoint = open_checkpoint(tiny_checkpoint(tmp_path / "checkpoint"))
    path = tmp_path / "vision.onnx"
    write_vision_graph(path, checkpoint, grid=(4, 4), form=form, dialect=FUSED)
    assert words in finding(path)


def test_the_table_is_of_real_operators_and_releases() -> None:
    assert RELEASES == ((10, 3), (10, 16), (11, 4))
    for name, operator in OPERATORS.items():
        assert onnx.defs.has(name), name
        assert operator.types, name
        assert RELEASES[0] <= operator.since <= RELEASES[-1], name
