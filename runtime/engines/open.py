"""Open the engines of a bundle in place of its graphs."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.manifest import GraphName
from adcopilot_edge.runtime.engines.api import Backend, load_api
from adcopilot_edge.runtime.engines.gpu import find_gpu
from adcopilot_edge.runtime.engines.record import find_engine
from adcopilot_edge.runtime.engines.run import EngineGraph
from adcopilot_edge.runtime.session import OpenGraph


def engine_opener(bundle: Bundle, backend: Backend) -> OpenGraph:
    """What opens the engine of a graph of ``bundle`` where ``GraphSession`` would open the graph.

    Raises:
        MissingExtraError: The package of ``backend`` is not installed.
        ProviderUnavailableError: There is no NVIDIA GPU.
    """
    api, gpu = load_api(backend), find_gpu()

    def open_engine_graph(
        path: Path, *, provider: str, num_threads: int | None, has_fixed_shapes: bool = True
    ) -> EngineGraph:
        del provider, num_threads, has_fixed_shapes  # an engine was built with its own
        engine, record = find_engine(bundle, cast(GraphName, path.stem), api, gpu)
        return EngineGraph(engine, record, api, path)

    return open_engine_graph
