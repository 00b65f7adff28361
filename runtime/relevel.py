"""Open the vision side of a bundle under measured ranges, or so that it tells its ranges.

Two ways to open a graph where ``GraphSession`` would. Knows nothing of how ranges are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import SessionError
from adcopilot_edge.manifest import GraphName
from adcopilot_edge.runtime.bound import Buffer
from adcopilot_edge.runtime.ranges_state import RangesState
from adcopilot_edge.runtime.session import GraphSession, OpenGraph, Runner
from adcopilot_edge.runtime.tensors import AnyArray, TensorSpec
from adcopilot_edge.runtime.threads import Threads

# Low and high by graph and layer.
Edges = dict[GraphName, dict[str, tuple[float, float]]]
_LOW, _HIGH = ".input.min", ".input.max"


def releveling_opener(bundle: Bundle, ranges: RangesState | None) -> OpenGraph:
    """What opens the graphs of ``bundle`` with the scales of ``ranges``; None: with their own."""
    names = _graph_names(bundle)

    def open_graph(
        path: Path, *, provider: str, num_threads: Threads, **settings: bool
    ) -> GraphSession:
        graph = names.get(path)
        return GraphSession(
            path,
            provider=provider,
            num_threads=num_threads,
            initializers={} if ranges is None or graph is None else ranges.initializers(graph),
            **settings,
        )

    return open_graph


def watching_opener(bundle: Bundle, ranges: RangesState | None, edges: Edges) -> OpenGraph:
    """As ``releveling_opener``, and every run of a graph widens ``edges`` by what it saw.

    The twins are opened that tell the ranges; the outputs are those of the graphs.
    """
    opener, names, graphs = (
        releveling_opener(bundle, ranges),
        _graph_names(bundle),
        bundle.manifest.graphs,
    )

    def open_graph(
        path: Path, *, provider: str, num_threads: Threads, **settings: bool
    ) -> WatchedGraph:
        # In any other order the inputs of all layers would stay in memory to the end.
        settings["keeps_order"] = True
        name = names[path]
        twin = graphs[name].ranges
        assert twin is not None
        session = opener(bundle.file(twin), provider=provider, num_threads=num_threads, **settings)
        return WatchedGraph(session, edges.setdefault(name, {}))

    return open_graph


class WatchedGraph:
    """A twin that tells ranges, behind the face of its graph.

    Args:
        session: The twin.
        edges: Low and high by layer, widened by every run.
    """

    def __init__(self, session: Runner, edges: dict[str, tuple[float, float]]) -> None:
        assert isinstance(session, GraphSession)
        self.name, self.provider = session.name, session.provider
        self.inputs: dict[str, TensorSpec] = session.inputs
        self.outputs = {
            name: spec for name, spec in session.outputs.items() if not name.endswith((_LOW, _HIGH))
        }
        self._session = session
        self._edges = edges

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run once. Raises SessionError, also where a value is not finite."""
        outputs = self._session.run(feeds)
        if broken := [name for name, array in outputs.items() if not np.isfinite(array).all()]:
            raise SessionError(
                f"{self.name} gives NaN or infinity, seen in {broken[0]}. Check the picture, or "
                "verify the bundle with: adcopilot-edge verify"
            )
        for name in [name for name in outputs if name.endswith(_LOW)]:
            layer = name.removesuffix(_LOW)
            low = float(outputs.pop(name))
            high = float(outputs.pop(f"{layer}{_HIGH}"))
            old_low, old_high = self._edges.get(layer, (low, high))
            self._edges[layer] = min(low, old_low), max(high, old_high)
        return outputs

    def require(self, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Raise SessionError unless the graph has these inputs and outputs."""
        self._session.require(inputs=inputs, outputs=outputs)

    def bind(self, state: Mapping[tuple[str, str], Buffer]) -> Runner:
        """A graph of the vision side keeps no state. Raises SessionError where one is asked for."""
        if state:
            raise SessionError(f"{self.name} tells its ranges, and updates nothing in place")
        return self


def _graph_names(bundle: Bundle) -> dict[Path, GraphName]:
    """The graphs of ``bundle`` by file, their twins included."""
    return {
        bundle.file(file): name
        for name, graph in bundle.manifest.graphs.items()
        for file in (graph.file, graph.probes, graph.ranges)
        if file is not None
    }
