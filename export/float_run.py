"""Run a checkpoint's float graphs over pairs, with whatever somebody makes them tell besides.

The graphs are the exporter's own, so a tower of any size runs in pieces; they are gone at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import onnx_ir as ir

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.comparison import write_comparison_graph
from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.linear import FloatForm
from adcopilot_edge.export.standard import StandardDialect
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.runtime.session import Graph, OpenGraph
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.types import ImageArray

Outputs = Mapping[str, AnyArray]
# Called with the graph, a layer, what goes into it and what comes out.
Watch = Callable[[GraphBuilder, Linear, ir.Value, ir.Value], None]


@dataclass(frozen=True, slots=True)
class WatchedForm(FloatForm):
    """float32 layers of which ``watch`` makes something an output of the graph."""

    watch: Watch

    def apply(self, graph: GraphBuilder, value: ir.Value, layer: Linear) -> ir.Value:
        """See :class:`linear.LinearForm`."""
        output = FloatForm.apply(self, graph, value, layer)  # super() knows no class with slots
        self.watch(graph, layer, value, output)
        return output


class ImagePairs(Protocol):
    """Pairs of golden and test; each may be made when its turn comes, in every walk anew."""

    def __len__(self) -> int:
        """How many pairs there are."""
        ...

    def __iter__(self) -> Iterator[tuple[ImageArray, ImageArray]]:
        """Golden and test, one pair after the other."""
        ...


@dataclass(frozen=True, slots=True)
class FloatRun:
    """The vision side of a checkpoint in float32, and the pairs it is run over.

    images: golden and test at the preprocessor's size, at least one pair. pairs: what they are, in
    words. scratch: a folder with room for the graphs. open_graph: how a graph is run.
    """

    checkpoint: Checkpoint
    preprocessor: Preprocessor
    images: ImagePairs
    pairs: str
    scratch: Path
    open_graph: OpenGraph

    def over_pairs(
        self, watch: Watch, dialect: StandardDialect, see: Callable[[Iterable[Outputs]], None]
    ) -> None:
        """Call ``see`` for each pair with the outputs of every run of a graph."""
        form = WatchedForm(watch)
        _, rows, columns = self.preprocessor.grid
        grid = (rows, columns)
        with TemporaryDirectory(dir=self.scratch, prefix=".ranges-") as name:
            path = Path(name) / "vision.onnx"
            write_vision_graph(path, self.checkpoint, grid=grid, form=form, dialect=dialect)
            vision = self._open(path)
            comparison = None
            if self.checkpoint.vision.compare_token_size:
                path = Path(name) / "comparison.onnx"
                write_comparison_graph(path, self.checkpoint, grid=grid, form=form, dialect=dialect)
                comparison = self._open(path)
            for pair in self.images:
                seen = [vision.run({"patches": self.preprocessor.patches(it)}) for it in pair]
                golden, test = (outputs["features"] for outputs in seen)
                if comparison is not None:
                    seen.append(comparison.run({"previous": golden, "current": test}))
                    seen.append(comparison.run({"previous": golden, "current": golden}))
                see(seen)

    def _open(self, path: Path) -> Graph:
        """The graph at ``path``, which lets go of a layer's values when the next layer comes."""
        return self.open_graph(path, provider="cpu", num_threads=None, keeps_order=True)
