"""Count the magnitudes of what INT8 layers get, inside the graph.

A histogram leaves the graph as a few thousand numbers a tensor, whatever the size of the image, so
that memory grows neither with the pairs nor with the model. Its edge must be known: that takes a
pass for the ranges before. Bins of equal width, because levels are equally wide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from adcopilot_edge.calibration.clipping import NUM_BINS, Histogram, Method, find_clip
from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.export.float_run import FloatRun, Outputs, Watch
from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.qdq import is_quantized
from adcopilot_edge.export.standard import StandardDialect
from adcopilot_edge.export.weights import Linear


def observe_clips(
    run: FloatRun, ranges: Ranges, method: Method, on_pair: Callable[[int], None] = lambda _: None
) -> Ranges:
    """``ranges`` with the ends of the INT8 levels by ``method``, from a second pass over the pairs.

    Args:
        run: The graphs and the pairs that gave ``ranges``.
        ranges: The first pass.
        method: How the ends are found.
        on_pair: Called with the number of pairs that are done.
    """
    found: dict[str, Histogram] = {}
    done = 0

    def see(seen: Iterable[Outputs]) -> None:
        nonlocal done
        for outputs in seen:
            for name, new in _histograms(outputs, ranges).items():
                found[name] = found[name] + new if name in found else new
        done += 1
        on_pair(done)

    run.over_pairs(count_inputs(ranges), StandardDialect(), see)
    clips = {name: find_clip(histogram, method) for name, histogram in found.items()}
    return replace(ranges, clips=clips)


def count_inputs(ranges: Ranges) -> Watch:
    """Counts what goes into the layers that are to be INT8, up to its bound in ``ranges``."""

    def watch(graph: GraphBuilder, layer: Linear, value: ir.Value, _: ir.Value) -> None:
        if is_quantized(layer.name):
            name = f"{layer.name}.input"
            _count(graph, value, name, ranges.bound(name), layer.shape[1])

    return watch


def int8_inputs(ranges: Ranges) -> list[str]:
    """The tensors of ``ranges`` that go into layers in INT8."""
    return [
        name
        for name in ranges.table
        if name.endswith(".input") and is_quantized(name.removesuffix(".input"))
    ]


def _histograms(outputs: Outputs, ranges: Ranges) -> dict[str, Histogram]:
    """The histograms among a graph's outputs, by tensor."""
    names = [name.removesuffix(".counts") for name in outputs if name.endswith(".counts")]
    return {
        name: Histogram(
            ranges.bound(name),
            outputs[f"{name}.counts"].astype(np.int64),
            outputs[f"{name}.floors"].astype(np.float32),
        )
        for name in names
    }


def _count(graph: GraphBuilder, value: ir.Value, name: str, edge: float, channels: int) -> None:
    """Make ``name.counts`` (NUM_BINS,) and ``name.floors`` (channels,) outputs of the graph."""

    def constant(word: str, number: float, dtype: type) -> ir.Value:
        return graph.constant(f"{name}.{word}", np.array(number, dtype=dtype))

    sizes = graph.op("Abs", [value], name=f"{name}.sizes")
    rows = graph.constant(f"{name}.rows", np.array([0]))
    floors = graph.op("ReduceMin", [sizes, rows], {"keepdims": 0}, name=f"{name}.smallest")
    graph.output(floors, f"{name}.floors", (channels,))
    # The largest value itself falls behind the last bin.
    scaled = graph.op(
        "Mul", [sizes, constant("density", NUM_BINS / edge, np.float32)], name=f"{name}.scaled"
    )
    bins = graph.cast(scaled, ir.DataType.INT32, name=f"{name}.bins")
    bins = graph.op("Min", [bins, constant("last", NUM_BINS - 1, np.int32)], name=f"{name}.inside")
    bins = graph.reshape(bins, (-1,), name=f"{name}.row")
    length = graph.op("Shape", [bins], name=f"{name}.length", dtype=ir.DataType.INT64)
    ones = graph.op("Expand", [constant("one", 1, np.int32), length], name=f"{name}.ones")
    empty = graph.constant(f"{name}.empty", np.zeros(NUM_BINS, np.int32))
    counts = graph.op(
        "ScatterElements", [empty, bins, ones], {"axis": 0, "reduction": "add"}, name=f"{name}.sums"
    )
    graph.output(counts, f"{name}.counts", (NUM_BINS,), ir.DataType.INT32)
