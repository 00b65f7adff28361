"""Run a checkpoint's float graphs over pairs, and keep the range of every value that matters.

The graphs are the exporter's own with two numbers more a tensor, so memory does not grow with the
pairs, and a tower of any size runs in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.errors import CalibrationError
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.comparison import write_comparison_graph
from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.linear import FloatForm
from adcopilot_edge.export.standard import StandardDialect
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.manifest import Precision
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.runtime.session import OpenGraph
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.types import ImageArray


@dataclass(frozen=True, slots=True)
class ObservedForm:
    """A float32 layer whose input and output are observed."""

    precision: ClassVar[Precision] = "fp32"

    def apply(self, graph: GraphBuilder, value: ir.Value, layer: Linear) -> ir.Value:
        """See :class:`linear.LinearForm`."""
        graph.observe(value, f"{layer.name}.input")
        output = FloatForm().apply(graph, value, layer)
        graph.observe(output, f"{layer.name}.output")
        return output

    def operand(self, layer: Linear) -> ir.DataType:
        """See :class:`linear.LinearForm`."""
        return FloatForm().operand(layer)

    def weight_bytes(self, outputs: int, inputs: int) -> int:
        """See :class:`linear.LinearForm`."""
        return FloatForm().weight_bytes(outputs, inputs)


def observe_ranges(
    checkpoint: Checkpoint,
    preprocessor: Preprocessor,
    images: Sequence[tuple[ImageArray, ImageArray]],
    *,
    pairs: str,
    scratch: Path,
    open_graph: OpenGraph,
    on_pair: Callable[[int], None] = lambda _: None,
) -> Ranges:
    """The ranges of the vision side over ``images``, golden and test at the preprocessor's size.

    Args:
        checkpoint: Where the weights are.
        preprocessor: Makes patches of an image.
        images: At least one pair.
        pairs: What they are, in words.
        scratch: A folder with room for the float32 graphs, which are gone at the end.
        open_graph: How a graph is run.
        on_pair: Called with the number of pairs that are done.

    Raises:
        CalibrationError: A value is not finite.
    """
    _, rows, columns = preprocessor.grid
    grid = (rows, columns)
    form, dialect = ObservedForm(), StandardDialect(observes_scores=True)
    with TemporaryDirectory(dir=scratch, prefix=".ranges-") as name:
        folder = Path(name)
        vision_path, comparison_path = folder / "vision.onnx", folder / "comparison.onnx"
        write_vision_graph(vision_path, checkpoint, grid=grid, form=form, dialect=dialect)
        vision = open_graph(vision_path, provider="cpu", num_threads=None)
        comparison = None
        if checkpoint.vision.compare_token_size:
            write_comparison_graph(
                comparison_path, checkpoint, grid=grid, form=form, dialect=dialect
            )
            comparison = open_graph(comparison_path, provider="cpu", num_threads=None)
        ranges = Ranges(pairs, 0, {})
        for pair in images:
            seen = [vision.run({"patches": preprocessor.patches(image)}) for image in pair]
            golden, test = (outputs["features"] for outputs in seen)
            if comparison is not None:
                seen.append(comparison.run({"previous": golden, "current": test}))
                seen.append(comparison.run({"previous": golden, "current": golden}))
            ranges = ranges.with_pair(_edges(outputs, pairs) for outputs in seen)
            on_pair(ranges.num_pairs)
        return ranges


def _edges(outputs: Mapping[str, AnyArray], pairs: str) -> dict[str, tuple[float, float]]:
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
