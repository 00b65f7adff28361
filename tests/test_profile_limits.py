"""What a machine can do, what stages do, and the one held against the other."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from adcopilot_edge.runtime.profile.limits import Limits, hold_against, weight_bytes
from adcopilot_edge.runtime.profile.micrograph import product_graph
from adcopilot_edge.runtime.profile.rates import Rates, read_rate
from adcopilot_edge.runtime.profile.run import _limit_notes
from adcopilot_edge.runtime.profile.settings import find_pictures
from adcopilot_edge.runtime.profile.trace import (
    Operations,
    Work,
    count_runs,
    count_work,
    node_operations,
)
from adcopilot_edge.runtime.session import GraphSession

RATES = Rates(provider="cpu", threads=2, memory=10e9, float_ops=100e9, integer_ops=400e9)


@pytest.mark.parametrize(
    ("dtype", "op_type"), [("float32", "MatMul"), ("float16", "MatMul"), ("int8", "MatMulInteger")]
)
def test_the_graph_is_onnx(dtype: str, op_type: str) -> None:
    model = onnx.load_from_string(product_graph(4, np.ones((300, 5), dtype), op_type=op_type))
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize(("dtype", "op_type"), [("float32", "MatMul"), ("int8", "MatMulInteger")])
def test_the_graph_is_a_product(dtype, op_type, rng, tmp_path) -> None:
    weights = rng.integers(-100, 100, (300, 70)).astype(dtype)
    rows = rng.integers(0, 200, (4, 300)).astype("uint8" if dtype == "int8" else dtype)
    path = tmp_path / "product.onnx"
    path.write_bytes(product_graph(4, weights, op_type=op_type))
    product = GraphSession(path).run({"rows": rows})["product"]
    np.testing.assert_array_equal(product, rows.astype("int64") @ weights.astype("int64"))


def test_reading_is_faster_than_nothing_and_slower_than_light() -> None:
    assert 1e8 < read_rate(1 << 20, "cpu", 1) < 1e13


def node(name: str, inputs: list[list[int]], output: list[int]) -> dict[str, object]:
    return {
        "op_name": name,
        "input_type_shape": [{"float": shape} for shape in inputs],
        "output_type_shape": [{"float": output}],
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (node("MatMul", [[6, 10], [10, 4]], [6, 4]), Operations(floating=480)),
        (node("MatMul", [[2, 6, 10], [2, 10, 4]], [2, 6, 4]), Operations(floating=960)),
        (node("FusedMatMul", [[6, 10], [10, 4]], [6, 4]), Operations(floating=480)),
        (node("Gemm", [[6, 10], [10, 4]], [6, 4]), Operations(floating=480)),
        # Weights that were packed at the start are not among the inputs.
        (node("DynamicQuantizeMatMul", [[6, 10], [4]], [6, 4]), Operations(integer=480)),
        (node("MatMulNBits", [[1, 6, 10]], [1, 6, 4]), Operations(integer=480)),
        (node("MatMulIntegerToFloat", [[6, 10], [10, 4]], [6, 4]), Operations(integer=480)),
        (node("MultiHeadAttention", [[2, 6, 8]] * 3, [2, 6, 8]), Operations(floating=2304)),
        (node("Add", [[6, 10], [6, 10]], [6, 10]), Operations()),
        (node("GroupQueryAttention", [[1, 6, 8]], [1, 6, 8]), Operations()),
    ],
)
def test_operations_of_a_node(arguments, expected) -> None:
    assert node_operations(arguments) == expected


def test_operations_by_run() -> None:
    product = node("MatMul", [[6, 10], [10, 4]], [6, 4])
    events = [
        {"name": "session_initialization", "ts": 0, "dur": 5, "args": {}},
        {"name": "a_kernel_time", "ts": 11, "dur": 1, "args": product},
        {"name": "model_run", "ts": 10, "dur": 5, "args": {}},
        {"name": "a_fence_before", "ts": 21, "dur": 0, "args": product},
        {"name": "a_kernel_time", "ts": 21, "dur": 1, "args": product},
        {"name": "b_kernel_time", "ts": 22, "dur": 1, "args": product},
        {"name": "model_run", "ts": 20, "dur": 5, "args": {}},
    ]
    assert count_runs(events) == [Operations(480), Operations(960)]


def test_the_slower_of_reading_and_computing_is_the_least_time() -> None:
    reading = hold_against(
        Work(operations=Operations(1000, 1000), num_runs=3), RATES, 10**7, 5e9, 8
    )
    assert (reading.bound, reading.least_ms, reading.reached) == ("memory", 6.0, 0.75)
    work = Work(operations=Operations(10**9, 4 * 10**9))
    computing = hold_against(work, RATES, 10**7, 5e9, 40)
    assert (computing.bound, computing.least_ms, computing.reached) == ("compute", 20.0, 0.5)


def test_a_stage_faster_than_possible_voids_the_limits() -> None:
    stages = {
        name: hold_against(Work(operations=Operations(10**9)), RATES, 0, 1e9, median_ms)
        for name, median_ms in (("vision", 20.0), ("prefill", 5.0))
    }
    assert stages["prefill"].reached == 2
    (note,) = _limit_notes(Limits(rates=RATES, stages=stages))
    assert "prefill took less than the least time" in note
    del stages["prefill"]
    assert _limit_notes(Limits(rates=RATES, stages=stages)) == []


def test_integers_are_never_slower_than_floats() -> None:
    """A lower bound must not grow because a rate could not be measured."""
    rates = Rates(provider="cuda", threads=1, memory=1, float_ops=100e9, integer_ops=None)
    limit = hold_against(Work(operations=Operations(0, 10**9)), rates, 0, 1e9, 20)
    assert limit.least_ms == 10


def test_the_work_of_a_bundle(toy_bundle) -> None:
    golden, tests = find_pictures(None, None)
    words = toy_bundle.manifest.prompt.tasks
    questions = {name: words[name] for name in ("classify", "locate")}
    # The toy's pictures are 56 x 84; these are square, and are squeezed.
    work = count_work(
        toy_bundle,
        golden,
        tests[0],
        provider="cpu",
        num_threads=1,
        questions={**questions, "ask": "Why?"},
        max_new_tokens=4,
    )
    stages = ["vision", "comparison", "prefill", "verdict", "classify", "locate", "ask"]
    assert list(work) == stages
    assert 1 <= work["classify"].num_runs <= 4
    assert work["prefill"].num_runs == work["verdict"].num_runs == 1
    prefill, verdict = work["prefill"].operations, work["verdict"].operations
    assert prefill.floating + prefill.integer > 0
    assert verdict.floating + verdict.integer > 0
    assert 0 < weight_bytes(toy_bundle, "decoder") < 10**7
