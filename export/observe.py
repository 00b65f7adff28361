"""Keep the range of every value of the vision side that matters, over pairs.

Two numbers a tensor leave the graph, so memory does not grow with the pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx_ir as ir

from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.errors import CalibrationError
from adcopilot_edge.export.float_run import FloatRun, Outputs
from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.standard import StandardDialect
from adcopilot_edge.export.weights import Linear


def observe_ranges(run: FloatRun, on_pair: Callable[[int], None] = lambda _: None) -> Ranges:
    """The ranges of the vision side over the pairs of ``run``.

    Args:
        run: The graphs and the pairs.
        on_pair: Called with the number of pairs that are done.

    Raises:
        CalibrationError: A value is not finite.
    """
    ranges = Ranges(run.pairs, 0, {})

    def see(seen: Iterable[Outputs]) -> None:
        nonlocal ranges
        ranges = ranges.with_pair(_edges(outputs, run.pairs) for outputs in seen)
        on_pair(ranges.num_pairs)

    run.over_pairs(_observe, StandardDialect(observes_scores=True), see)
    return ranges


def _observe(graph: GraphBuilder, layer: Linear, value: ir.Value, output: ir.Value) -> None:
    """Show the ranges of what goes into a layer and of what comes out."""
    graph.observe(value, f"{layer.name}.input")
    graph.observe(output, f"{layer.name}.output")


def _edges(outputs: Outputs, pairs: str) -> dict[str, tuple[float, float]]:
    """The observed edges among a graph's outputs, by tensor. Raises CalibrationError."""
    # onnxruntime's smallest and largest pass over a NaN, but what follows from it shows it.
    broken = [name for name, array in outputs.items() if not np.isfinite(array).all()]
    if broken:
        raise CalibrationError(
            f"the checkpoint gives NaN or infinity on {pairs}, seen in {broken[0]}. Check the "
            "checkpoint and the pictures."
        )
    tensors = [name.removesuffix(".min") for name in outputs if name.endswith(".min")]
    return {
        name: (float(outputs[f"{name}.min"]), float(outputs[f"{name}.max"])) for name in tensors
    }
