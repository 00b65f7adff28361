"""Build the engine of one graph: strongly typed, fixed shapes, checked memory, written whole."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import BuildError, ConfigError
from adcopilot_edge.manifest import GraphName
from adcopilot_edge.runtime.cuda import Gpu, find_gpu
from adcopilot_edge.runtime.engines.api import Api, Capability, format_capabilities
from adcopilot_edge.runtime.engines.layers import check_products
from adcopilot_edge.runtime.engines.log import open_log, start
from adcopilot_edge.runtime.engines.progress import watch_build
from adcopilot_edge.runtime.engines.record import (
    ENGINE_GRAPHS,
    EngineRecord,
    engine_folder,
    engine_path,
    graph_hash,
    write_record,
)
from adcopilot_edge.runtime.memory import free_bytes
from adcopilot_edge.types import OnStep

# How often the weights are in memory at most, and what the libraries take. On TensorRT-RTX 1.7 it
# was 3.0 times in float16 and 3.1 times in INT8, for 32 blocks of full width.
_MEMORY_FACTOR = 3.2
_LIBRARY_BYTES = 400 << 20
_GIB = 1 << 30
_TIMING_CACHE = "timing.cache"


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
    """What a build needs and writes.

    weight_bytes: of the graph. memory_bytes: that it takes at most, about. gpu: on which kernels
    are timed, None where targets are named. capabilities: what the engine is for.
    """

    graph: GraphName
    engine: Path
    weight_bytes: int
    memory_bytes: int
    gpu: Gpu | None
    capabilities: tuple[Capability, ...]


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
    api.check_targets(options.capabilities)
    gpu = None if api.names_targets else find_gpu()
    capabilities = options.capabilities if gpu is None else (gpu.capability,)
    folder = engine_folder(bundle, api.backend, api.version, capabilities)
    plans = []
    for graph in ENGINE_GRAPHS:
        if graph in manifest.graphs:
            file = manifest.graphs[graph].file
            data = manifest.files.get(f"{file}.data", manifest.files[file]).size_bytes
            memory = int(_MEMORY_FACTOR * data) + _LIBRARY_BYTES + (options.workspace_bytes or 0)
            engine = engine_path(folder, graph)
            plans.append(BuildPlan(graph, engine, data, memory, gpu, capabilities))
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
        BuildError: There is too little memory, TensorRT refuses the graph, with what it says, or
            the engine can't be written.
        ProviderUnavailableError: TensorRT does not start here.
    """
    _check_memory(plan)
    log = open_log(api)
    builder = start(api, "Builder", log)
    network = builder.create_network(api.strong_typing())
    graph = bundle.manifest.graphs[plan.graph]
    # The network points to weights that its parser owns.
    parser = _parse(api, network, log, bundle.file(graph.file))
    products = check_products(api, network, graph)
    config = _configure(api, builder.create_builder_config(), plan, options)
    started = time.monotonic()
    with watch_build(api, plan.graph, on_step) as config.progress_monitor:
        content = builder.build_serialized_network(network, config)
    seconds = time.monotonic() - started
    del parser
    if content is None:
        raise BuildError(
            f"{api.backend} {api.version} can't build the {plan.graph} graph: {log.said()}."
            f"{_advice(api, options)}"
        )
    record = EngineRecord(
        graph=plan.graph,
        graph_sha256=graph_hash(bundle, plan.graph),
        precision=graph.precision,
        products=products,
        backend=api.backend,
        version=api.version,
        gpu=None if plan.gpu is None else plan.gpu.name,
        compute_capabilities=tuple(format_capabilities([item]) for item in plan.capabilities),
        streams_weights=options.streams_weights,
        is_stripped=options.is_stripped,
        workspace_bytes=options.workspace_bytes,
        built_at=datetime.now(timezone.utc),
        build_seconds=round(seconds, 3),
        size_bytes=content.nbytes,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    timings = config.get_timing_cache().serialize() if api.times_kernels else None
    _write(plan.engine, content, record, timings)
    return record


def _check_memory(plan: BuildPlan) -> None:
    """Raise unless the build has room; a builder that runs out is killed without a word."""
    free = free_bytes()
    if free is not None and free < plan.memory_bytes:
        raise BuildError(
            f"building the {plan.graph} engine takes about {plan.memory_bytes / _GIB:.1f} GiB of "
            f"memory, {free / _GIB:.1f} GiB are free. Close other programs (on a Jetson also the "
            "desktop: sudo systemctl isolate multi-user), add swap, or lower --workspace."
        )


def _parse(api: Api, network: Any, log: Any, path: Path) -> Any:
    """Read the graph at ``path`` into ``network``; returns the parser. Raises BuildError."""
    parser = api.trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise BuildError(
            f"{api.backend} {api.version} does not read {path.name}: "
            f"{'; '.join(errors) or log.said()}. Export the bundle again with this release."
        )
    return parser


def _configure(api: Api, config: Any, plan: BuildPlan, options: BuildOptions) -> Any:
    """Put the options into a builder's ``config``; returns it."""
    trt = api.trt
    api.set_targets(config, plan.capabilities)
    # On by default, it would round the factors of what is to be exact to 10 bits, as float16 does.
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.streams_weights:
        config.set_flag(trt.BuilderFlag.WEIGHT_STREAMING)
    if options.is_stripped:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    if api.times_kernels:
        old = plan.engine.with_name(_TIMING_CACHE)
        content = old.read_bytes() if old.is_file() else b""
        # Of another driver or damaged, it is not taken, and a new one begins.
        if not config.set_timing_cache(config.create_timing_cache(content), ignore_mismatch=False):
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    return config


def _advice(api: Api, options: BuildOptions) -> str:
    """What else to try after a refusal, beside what TensorRT says."""
    if options.is_stripped and api.names_targets:
        return " It strips weights on a machine with a GPU only: leave out --strip-weights."
    if options.workspace_bytes is not None:
        return " Raise --workspace, or leave it out."
    return ""


def _write(engine: Path, content: Any, record: EngineRecord, timings: Any) -> None:
    """Write an engine, its record, and the times of kernels where there are any.

    Raises:
        BuildError: The disk refuses.
    """
    try:
        engine.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(engine) as file:
            file.write(content)
        write_record(engine, record)
        if timings is not None:
            with atomic_write(engine.with_name(_TIMING_CACHE)) as file:
                file.write(timings)
    except OSError as err:
        raise BuildError(
            f"writing {engine} failed: {err.strerror or err}. Make room, or build in a copy of the "
            "bundle that can be written."
        ) from err
