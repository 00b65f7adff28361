"""Open the engines of a bundle in place of its graphs."""

from __future__ import annotations

from pathlib import Path

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.runtime.cuda import find_gpu
from adcopilot_edge.runtime.engines.api import Backend, load_api
from adcopilot_edge.runtime.engines.record import ENGINE_GRAPHS, build_command, find_engine
from adcopilot_edge.runtime.engines.run import EngineGraph
from adcopilot_edge.runtime.session import OpenGraph
from adcopilot_edge.runtime.threads import Threads


def engine_opener(bundle: Bundle, backend: Backend) -> OpenGraph:
    """What opens the engine of a graph of ``bundle`` where ``GraphSession`` would open the graph.

    Raises:
        ConfigError: The package of ``backend`` is too old.
        MissingExtraError: It is not installed.
        ProviderUnavailableError: It does not load here, or there is no NVIDIA GPU.
        EngineError: A graph has no engine that fits.
    """
    api, gpu = load_api(backend), find_gpu()
    engines = {
        bundle.file(bundle.manifest.graphs[graph].file): find_engine(bundle, graph, api, gpu)
        for graph in ENGINE_GRAPHS
        if graph in bundle.manifest.graphs
    }

    def open_engine_graph(
        path: Path,
        *,
        provider: str,
        num_threads: Threads,
        has_fixed_shapes: bool = True,
        keeps_order: bool = False,
    ) -> EngineGraph:
        del num_threads, has_fixed_shapes, keeps_order  # an engine was built with its own
        engine, record = engines[path]
        return EngineGraph(
            engine,
            record,
            api,
            graph=path,
            device=provider,
            rebuild=build_command(bundle, api, gpu),
        )

    return open_engine_graph
