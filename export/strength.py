"""How strongly each layer is smoothed: the strength whose INT8 output is nearest on the pairs.

No smoothing is one of the strengths, so that by this measure no layer gets worse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcopilot_edge.export.float_run import FloatRun, Outputs
from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.qdq import quantize_rows
from adcopilot_edge.export.smooth import Fold, Smoothed, list_folds
from adcopilot_edge.export.standard import StandardDialect
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.types import FloatArray

STRENGTHS = (0.25, 0.4, 0.5, 0.6, 0.75)
_LEVELS = 127
# Rows of a layer's input that its error is measured on, from all pairs together.
_NUM_ROWS = 256
# A channel further than a factor of 64 from the others keeps a part of its distance: more would
# use up the exponents of float16, in which the values between norm and levels are.
_MOST_EXPONENT = 6


@dataclass(slots=True)
class _Sample:
    """What was seen of a layer's input: (C,) the largest of each channel, and some rows."""

    largest: FloatArray
    rows: list[FloatArray] = field(default_factory=list)


def search_strengths(
    run: FloatRun, on_pair: Callable[[int], None] = lambda _: None
) -> dict[str, Smoothed]:
    """How every layer behind a norm of the vision side is best smoothed, by its name.

    Args:
        run: The graphs and the pairs.
        on_pair: Called with the number of pairs that are done.
    """
    folds = list(list_folds(run.checkpoint))
    num_rows = max(1, _NUM_ROWS // (2 * len(run.images)))
    layers = {place.layer for place in folds}
    samples: dict[str, _Sample] = {}
    done = 0

    def see(seen: Iterable[Outputs]) -> None:
        nonlocal done
        for outputs in seen:
            for name in (key.removesuffix(".rows") for key in outputs if key.endswith(".rows")):
                largest = outputs[f"{name}.largest"].astype(np.float32)
                sample = samples.setdefault(name, _Sample(largest))
                sample.largest = np.maximum(sample.largest, largest)
                sample.rows.append(outputs[f"{name}.rows"].astype(np.float32))
        done += 1
        on_pair(done)

    def watch(graph: GraphBuilder, layer: Linear, value: ir.Value, _: ir.Value) -> None:
        if layer.name in layers:
            _sample(graph, value, layer.name, layer.shape[1], num_rows)

    run.over_pairs(watch, StandardDialect(), see)
    return {
        place.layer: _search(run, place, samples.pop(place.layer))  # its rows, before the next
        for place in folds
    }


def _sample(graph: GraphBuilder, value: ir.Value, name: str, channels: int, num_rows: int) -> None:
    """Make ``name.largest`` (C,) and ``name.rows`` (num_rows, C) outputs of the graph."""
    sizes = graph.op("Abs", [value], name=f"{name}.sizes")
    axis = graph.constant(f"{name}.axis", np.array([0]))
    largest = graph.op("ReduceMax", [sizes, axis], {"keepdims": 0}, name=f"{name}.peaks")
    graph.output(largest, f"{name}.largest", (channels,))
    places = (np.arange(num_rows, dtype=np.float32) + 0.5) / num_rows
    length = graph.op(
        "Shape", [value], {"start": 0, "end": 1}, name=f"{name}.length", dtype=ir.DataType.INT64
    )
    scaled = graph.op(
        "Mul",
        [
            graph.cast(length, ir.DataType.FLOAT, name=f"{name}.length_float"),
            graph.constant(f"{name}.places", places),
        ],
        name=f"{name}.scaled",
    )
    index = graph.cast(scaled, ir.DataType.INT64, name=f"{name}.index")
    rows = graph.op("Gather", [value, index], name=f"{name}.picked")
    graph.output(rows, f"{name}.rows", (num_rows, channels))


def _search(run: FloatRun, place: Fold, sample: _Sample) -> Smoothed:
    weights = Linear(run.checkpoint, place.layer, place.modules).matrix()
    return find_strength(np.concatenate(sample.rows), sample.largest, weights)


def find_strength(rows: FloatArray, largest: FloatArray, weights: FloatArray) -> Smoothed:
    """The best smoothing of a layer.

    Args:
        rows: (n, C) of its input.
        largest: (C,) the largest magnitude of each channel over all pairs.
        weights: (outputs, C).
    """
    exact = rows @ weights.T
    scale = float(np.linalg.norm(exact)) or 1.0
    columns = np.abs(weights).max(axis=0)

    def measured() -> Iterator[tuple[float, float, NDArray[np.int64]]]:
        for strength in (0.0, *STRENGTHS):
            exponents = _exponents(largest, columns, strength)
            product = _int8_product(rows, largest, weights, exponents)
            yield float(np.linalg.norm(product - exact)) / scale, strength, exponents

    tried = list(measured())
    error, strength, exponents = min(tried, key=lambda one: one[:2])
    return Smoothed(strength=strength, exponents=exponents, before=tried[0][0], after=error)


def _exponents(largest: FloatArray, columns: FloatArray, strength: float) -> NDArray[np.int64]:
    """The factors (C,) of a strength as powers of two, around one; 0 for a channel of zeros."""
    exponents = np.zeros(len(largest), np.int64)
    is_used = (largest > 0) & (columns > 0)
    if strength and is_used.any():
        logs = strength * np.log2(largest[is_used]) - (1 - strength) * np.log2(columns[is_used])
        found = np.rint(logs - logs.mean()).astype(np.int64)
        exponents[is_used] = np.clip(found, -_MOST_EXPONENT, _MOST_EXPONENT)
    return exponents


def _int8_product(
    rows: FloatArray, largest: FloatArray, weights: FloatArray, exponents: NDArray[np.int64]
) -> FloatArray:
    """What the smoothed layer gives in INT8 (n, outputs), its input's levels up to the largest."""
    factors = np.ldexp(np.float32(1), exponents)
    step = np.float32((largest / factors).max() / _LEVELS) or np.float32(1)
    inputs = np.clip(np.rint(rows / factors / step), -_LEVELS, _LEVELS) * step
    levels, steps = quantize_rows(weights * factors, ir.DataType.FLOAT)
    return (inputs @ levels.astype(np.float32).T) * steps
