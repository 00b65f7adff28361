"""Graphs on bound buffers: the numbers of plain runs, in memory that stays where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from adcopilot_edge.errors import SessionError
from adcopilot_edge.runtime.bound import BoundGraph, Buffer
from adcopilot_edge.runtime.device_array import DeviceArray
from adcopilot_edge.runtime.session import GraphSession

STATE = ("total", "new_total")


def numbers(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.fixture
def session(tmp_path):
    """``total`` (1, 3) grows by ``step``; ``rows`` (S, 2) come back doubled, and the last as is."""
    given = [value("total", 1, 3), value("step", 1, 3), value("rows", "S", 2)]
    gives = [value("doubled", "S", 2), value("new_total", 1, 3), value("last", 1, 2)]
    nodes = [
        helper.make_node("Add", ["total", "step"], ["new_total"]),
        helper.make_node("Add", ["rows", "rows"], ["doubled"]),
        helper.make_node("Gather", ["rows", "index"], ["last"], axis=0),
    ]
    index = helper.make_tensor("index", TensorProto.INT64, [1], [-1])
    graph = helper.make_graph(nodes, "bound", given, gives, initializer=[index])
    path = tmp_path / "bound.onnx"
    opset = helper.make_opsetid("", 20)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return GraphSession(path, num_threads=1)


@pytest.fixture
def total():
    return Buffer((1, 3), np.float32, "cpu")


@pytest.fixture
def bound(session, total):
    return session.bind({STATE: total})


@pytest.fixture
def feeds():
    return {"step": np.ones((1, 3), np.float32), "rows": numbers(4, 2)}


def test_a_run_gives_what_is_no_state_and_updates_the_state(bound, total, feeds):
    for runs in (1, 2, 3):
        outputs = bound.run(feeds)
        assert sorted(outputs) == ["doubled", "last"]
        np.testing.assert_array_equal(outputs["doubled"], 2 * feeds["rows"])
        np.testing.assert_array_equal(outputs["last"], feeds["rows"][-1:])
        np.testing.assert_array_equal(total.read(0, 1), np.full((1, 3), runs))


def test_what_was_written_to_a_bound_array_counts(bound, total, feeds):
    bound.run(feeds)
    feeds["step"][...] = 10
    feeds["rows"][-1] = [7, 8]
    outputs = bound.run(feeds)
    np.testing.assert_array_equal(total.read(0, 1), [[11, 11, 11]])
    np.testing.assert_array_equal(outputs["last"], [[7, 8]])


def test_an_output_of_fixed_shape_stays_where_it_is(bound, feeds):
    first = bound.run(feeds)["last"]
    second = bound.run(feeds | {"rows": numbers(2, 2) + 50})["last"]
    assert first.ctypes.data == second.ctypes.data
    np.testing.assert_array_equal(first, [[52, 53]])


def test_lengths_may_change(bound, feeds):
    for length in (4, 1, 6, 4):
        rows = numbers(length, 2) + length
        outputs = bound.run(feeds | {"rows": rows})
        np.testing.assert_array_equal(outputs["doubled"], 2 * rows)
        np.testing.assert_array_equal(outputs["last"], rows[-1:])


def test_an_array_in_another_order_is_read_anew(bound, feeds):
    rows = numbers(2, 4).T
    for _ in range(2):
        np.testing.assert_array_equal(bound.run(feeds | {"rows": rows})["doubled"], 2 * rows)
        rows += 1


def test_an_array_on_a_device_is_read_where_it_is(bound, feeds):
    rows = DeviceArray((4, 2), np.float32, "cpu")
    for _ in range(2):
        rows.write(numbers(4, 2) + 3)
        outputs = bound.run(feeds | {"rows": rows})
        np.testing.assert_array_equal(outputs["doubled"], 2 * (numbers(4, 2) + 3))
        np.testing.assert_array_equal(bound.run(feeds)["doubled"], 2 * feeds["rows"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": None}, "no input 'rows'"),
        ({"rows": numbers(4, 3)}, r"\(any, 2\), got float32 \(4, 3\)"),
        ({"rows": numbers(4, 2).astype(np.float64)}, "got float64"),
        ({"total": numbers(1, 3)}, "unknown input 'total'"),
        ({"rows": None, "other": numbers(1)}, "no input 'rows'; unknown input 'other'"),
    ],
)
def test_feeds_are_checked_also_after_good_ones(bound, total, feeds, change, message):
    bound.run(feeds)
    changed = {name: array for name, array in (feeds | change).items() if array is not None}
    for _ in range(2):
        with pytest.raises(SessionError, match=message):
            bound.run(changed)
    np.testing.assert_array_equal(total.read(0, 1), [[1, 1, 1]])
    np.testing.assert_array_equal(bound.run(feeds)["doubled"], 2 * feeds["rows"])
    np.testing.assert_array_equal(total.read(0, 1), [[2, 2, 2]])


class Elsewhere:
    """A session on CUDA and its binding, of which both keep what they are told."""

    name, provider = "elsewhere.onnx", "cuda"

    def __init__(self, session: GraphSession) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self.calls: list[tuple[str, str]] = []

    def io_binding(self) -> Any:
        return self

    def run_bound(self, binding: Any) -> None:
        self.calls.append(("run", self.name))

    def get_outputs(self) -> list[Any]:
        class Value:
            def numpy(self) -> np.ndarray:
                return np.zeros(1, np.float32)

        return [Value() for _ in self.outputs]

    def __getattr__(self, call: str) -> Any:
        if not call.startswith("bind_"):
            raise AttributeError(call)
        return lambda name, *_: self.calls.append((call, name))


def test_on_another_device_feeds_are_copied_in_every_run(session, total, feeds):
    elsewhere = Elsewhere(session)
    bound = BoundGraph(elsewhere, {STATE: total})
    assert elsewhere.calls == [
        ("bind_ortvalue_input", "total"),
        ("bind_ortvalue_output", "new_total"),
    ]
    for _ in range(2):
        elsewhere.calls.clear()
        assert sorted(bound.run(feeds)) == ["doubled", "last"]
        assert elsewhere.calls == [
            ("bind_cpu_input", "step"),
            ("bind_cpu_input", "rows"),
            ("bind_output", "doubled"),
            ("bind_output", "last"),
            ("run", "elsewhere.onnx"),
        ]
