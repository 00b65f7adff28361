"""Build the engine of one graph: strongly typed, fixed shapes, checked memory, written whole."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import BuildError, ConfigError
from adcopilot_edge.manifest import GraphName
from adcopilot_edge.runtime.engines.api import Api, Capability
from adcopilot_edge.runtime.engines.gpu import Gpu, find_gpu
from adcopilot_edge.runtime.engines.layers import check_products
from adcopilot_edge.runtime.engines.log import open_log
from adcopilot_edge.runtime.engines.record import (
    ENGINE_GRAPHS,
    EngineRecord,
    engine_folder,
    engine_path,
    graph_hash,
    write_record,
)
from adcopilot_edge.runtime.memory import free_bytes

# Of the weights: parsing holds them once, building twice more (32 blocks of full width on
# TensorRT-RTX 1.7: 2.6 in float16, 3.0 in INT8), and the libraries take the rest.
_MEMORY_FACTOR = 3.2
_LIBRARY_BYTES = 400 << 20
_GIB = 1 << 30
_TIMING_CACHE = "timing.cache"
_STRIP_ADVICE = (
    " TensorRT-RTX strips weights on a machine with a GPU only: leave out --strip-weights."
)

# Called with what the builder does, how much of it is done, and how much there is.
OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How to build.

    workspace_bytes: scratch memory that kernels may take; None leaves it to TensorRT.
    streams_weights: weights may stay on the host and come as they are needed. is_stripped: the
    engine has no weights and takes them from the bundle when it is opened.
    """

    capabilities: tuple[Capability, ...] = ()
    workspace_bytes: int | None = None
    streams_weights: bool = False
    is_stripped: bool = False


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What a build would need and write: bytes of weights and memory, the engine's file."""

    graph: GraphName
    engine: Path
    weight_bytes: int
    memory_bytes: int


def plan_builds(bundle: Bundle, api: Api, options: BuildOptions) -> list[BuildPlan]:
    """The engines of a bundle, without building them.

    Raises:
        ConfigError: The bundle is for another target, or the package can't build for a capability.
        ProviderUnavailableError: There is no GPU, and the package needs one.
    """
    manifest = bundle.manifest
    if manifest.target != "tensorrt":
        raise ConfigError(
            f"{bundle.path} was exported for the target {manifest.target!r}, whose graphs TensorRT "
            "does not read. Export it with --target tensorrt."
        )
    folder = engine_folder(bundle, api.backend, api.version, _targets(api, options, _gpu(api)))
    plans = []
    for graph in ENGINE_GRAPHS:
        if graph in manifest.graphs:
            file = manifest.graphs[graph].file
            data = manifest.files.get(f"{file}.data", manifest.files[file]).size_bytes
            memory = int(_MEMORY_FACTOR * data) + _LIBRARY_BYTES + (options.workspace_bytes or 0)
            plans.append(BuildPlan(graph, engine_path(folder, graph), data, memory))
    return plans


def build_engine(
    bundle: Bundle,
    plan: BuildPlan,
    api: Api,
    options: BuildOptions,
    *,
    on_step: OnStep = lambda *_: None,
) -> EngineRecord:
    """Build one engine, and write it and its record; an older one is replaced when all went well.

    Raises:
        BuildError: There is too little memory, or TensorRT refuses the graph; with what it says.
        ConfigError: The package can't build for a capability.
        ProviderUnavailableError: There is no GPU, and the package needs one.
    """
    _check_memory(plan)
    gpu = _gpu(api)
    trt, log = api.trt, open_log(api)
    builder = trt.Builder(log)
    network = builder.create_network(api.strong_typing())
    graph = bundle.manifest.graphs[plan.graph]
    _parse(api, network, log, bundle.file(graph.file))
    products = check_products(api, network, graph)
    config = builder.create_builder_config()
    api.set_targets(config, options.capabilities)
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.streams_weights:
        config.set_flag(trt.BuilderFlag.WEIGHT_STREAMING)
    if options.is_stripped:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    config.progress_monitor = monitor = _monitor(api, plan.graph, on_step)
    plan.engine.parent.mkdir(parents=True, exist_ok=True)
    cache_file = plan.engine.with_name(_TIMING_CACHE)
    cache = config.create_timing_cache(cache_file.read_bytes() if cache_file.is_file() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    started = time.monotonic()
    content = builder.build_serialized_network(network, config)
    seconds = time.monotonic() - started
    del monitor
    if content is None:
        raise BuildError(
            f"{api.backend} {api.version} can't build the {plan.graph} graph: {log.said()}."
            + (_STRIP_ADVICE if options.is_stripped and api.names_targets else "")
        )
    engine = bytes(content)
    record = EngineRecord(
        graph=plan.graph,
        graph_sha256=graph_hash(bundle, plan.graph),
        precision=graph.precision,
        products=products,
        backend=api.backend,
        version=api.version,
        gpu=None if gpu is None else gpu.name,
        compute_capabilities=_targets(api, options, gpu),
        streams_weights=options.streams_weights,
        is_stripped=options.is_stripped,
        workspace_bytes=options.workspace_bytes,
        build_seconds=round(seconds, 3),
        size_bytes=len(engine),
        sha256=hashlib.sha256(engine).hexdigest(),
    )
    with atomic_write(plan.engine) as file:
        file.write(engine)
    write_record(plan.engine, record)
    if (timings := config.get_timing_cache()) is not None:
        with atomic_write(cache_file) as file:
            file.write(bytes(timings.serialize()))
    return record


def _gpu(api: Api) -> Gpu | None:
    """The GPU that an engine is tuned on; None for a package that builds by name."""
    return None if api.names_targets else find_gpu()


def _targets(api: Api, options: BuildOptions, gpu: Gpu | None) -> tuple[str, ...]:
    """The compute capabilities of the engine, as ``8.7``."""
    capabilities: Sequence[Capability] = options.capabilities
    if not capabilities:
        if gpu is None:
            known = ", ".join(f"{major}.{minor}" for major, minor in api.targets())
            raise ConfigError(
                f"{api.backend} builds by name: say which with --compute-capability, of {known}"
            )
        capabilities = (gpu.capability,)
    return tuple(f"{major}.{minor}" for major, minor in capabilities)


def _check_memory(plan: BuildPlan) -> None:
    """Raise unless the build has room; a builder that runs out is killed without a word."""
    free = free_bytes()
    if free is not None and free < plan.memory_bytes:
        raise BuildError(
            f"building the {plan.graph} engine takes about {plan.memory_bytes / _GIB:.1f} GiB of "
            f"memory, {free / _GIB:.1f} GiB are free. Close other programs (on a Jetson also the "
            "desktop: sudo systemctl isolate multi-user), add swap, or lower --workspace."
        )


def _parse(api: Api, network: Any, log: Any, path: Path) -> None:
    """Read the graph at ``path`` into ``network``. Raises BuildError."""
    parser = api.trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise BuildError(
            f"{api.backend} {api.version} does not read {path.name}: {'; '.join(errors)}. "
            "Export the bundle again with this release."
        )


def _monitor(api: Api, graph: GraphName, on_step: OnStep) -> Any:
    """A progress monitor that reports the builder's outermost phases."""

    class Monitor(api.trt.IProgressMonitor):  # type: ignore[misc, name-defined]  # not typed
        def __init__(self) -> None:
            super().__init__()
            self.steps: dict[str, int] = {}

        def phase_start(self, name: str, parent: str | None, num_steps: int) -> None:
            if parent is None:
                self.steps[name] = num_steps
                on_step(graph, 0, num_steps)

        def step_complete(self, name: str, step: int) -> bool:
            if name in self.steps:
                on_step(graph, step + 1, self.steps[name])
            return True

        def phase_finish(self, name: str) -> None:
            if name in self.steps:
                on_step(graph, self.steps[name], self.steps[name])

    return Monitor()
