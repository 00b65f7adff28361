"""Stands for NVIDIA's packages: what each release calls things, and engines that run on the CPU.

An engine of the fake is the path of an ONNX graph, and onnxruntime runs it, on memory that is given
by its address, as an engine is. What a fake has, the real package has too: a test compares them.
"""

from __future__ import annotations

import ctypes
from datetime import datetime, timezone
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime

from adcopilot_edge.runtime.engines.record import EngineRecord

VERSIONS = {"10.3": "10.3.0", "10.16": "10.16.1.11", "11.4": "11.4.0.106", "rtx": "1.7.1.116"}


class DataType(IntEnum):
    FLOAT = 0
    HALF = 1


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class LayerType(IntEnum):
    CONSTANT = 0
    MATRIX_MULTIPLY = 1
    CAST = 2
    QUANTIZE = 3
    DEQUANTIZE = 4
    SHUFFLE = 5
    IDENTITY = 6


class MemoryPoolType(IntEnum):
    WORKSPACE = 0


class BuilderFlag(IntEnum):
    STRIP_PLAN = 0
    WEIGHT_STREAMING = 1
    TF32 = 2


class CudaGraphStrategy(IntEnum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class ComputeCapability(IntEnum):
    NONE = 0
    CURRENT = 1
    SM86 = 2
    SM89 = 3
    SM120 = 4


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2


class IProgressMonitor:
    pass


class IHostMemory(bytes):
    @property
    def nbytes(self) -> int:
        return len(self)


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> IHostMemory:
        return IHostMemory(self.content + b"+")


class IBuilderConfig:
    """Refuses a timing cache that begins with ``other``, as of another device."""

    num_compute_capabilities = 0

    def __init__(self) -> None:
        self.progress_monitor: Any = None
        self.capabilities: list[Any] = []
        self.workspace: int | None = None
        self.flags = {BuilderFlag.TF32}
        self._timings: ITimingCache | None = None

    def set_compute_capability(self, capability: ComputeCapability, index: int) -> bool:
        assert index == len(self.capabilities) < self.num_compute_capabilities
        self.capabilities.append(capability)
        return True

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        assert pool == MemoryPoolType.WORKSPACE
        self.workspace = size

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.remove(flag)

    def create_timing_cache(self, content: bytes) -> ITimingCache:
        return ITimingCache(content)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache.content.startswith(b"other") and not ignore_mismatch:
            return False
        self._timings = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._timings


class INetworkDefinition:
    num_layers = 0
    path = ""


class Builder:
    """Builds what is parsed, in one phase with one step inside; keeps what it was told."""

    last: Builder
    refusal = ""

    def __init__(self, log: Any) -> None:
        type(self).last = self
        self._log = log
        self.flags: int | None = None

    def create_network(self, flags: int) -> INetworkDefinition:
        self.flags = flags
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None:
        self.config = config
        monitor = config.progress_monitor
        monitor.phase_start("building", None, 2)
        monitor.phase_start("one layer", "building", 1)
        goes_on = monitor.step_complete("one layer", 0) and monitor.step_complete("building", 0)
        monitor.phase_finish("building")
        if self.refusal or not goes_on:
            self._log.log(ILogger.Severity.ERROR, self.refusal or "cancelled")
            return None
        return IHostMemory(network.path.encode())


class OnnxParser:
    num_errors = 0

    def __init__(self, network: INetworkDefinition, log: Any) -> None:
        self._network = network

    def parse_from_file(self, path: str) -> bool:
        self._network.path = path
        return True

    def get_error(self, index: int) -> str:
        raise IndexError(index)


class IExecutionContext:
    """Runs the graph of its engine with what lies at the addresses it was told."""

    def __init__(self, engine: ICudaEngine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.streams: list[int] = []
        self.moves: list[str] = []

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        self.moves.append(name)
        return memory != 0

    def execute_async_v3(self, stream_handle: int) -> bool:
        self.streams.append(stream_handle)
        session = self.engine.session
        feeds = {node.name: self._at(node) for node in session.get_inputs()}
        outputs = session.run(None, feeds)
        for node, array in zip(session.get_outputs(), outputs, strict=True):
            self._at(node)[...] = array
        return True

    def _at(self, node: Any) -> Any:
        """The memory of a tensor as an array."""
        address = ctypes.cast(self.addresses[node.name], ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(address, tuple(node.shape))


class IRuntimeConfig:
    cuda_graph_strategy = CudaGraphStrategy.DISABLED


class ICudaEngine:
    device_memory_size_v2 = 5 << 20
    weight_streaming_budget_v2 = -1

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._inputs = {node.name: node for node in self.session.get_inputs()}
        self._nodes = self._inputs | {node.name: node for node in self.session.get_outputs()}
        self.num_io_tensors = len(self._nodes)
        self.context: Any = IExecutionContext(self)
        self.config: IRuntimeConfig | None = None

    def get_tensor_name(self, index: int) -> str:
        return list(self._nodes)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.FLOAT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._nodes[name].shape)

    def get_weight_streaming_automatic_budget(self) -> int:
        return 1 << 20

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(self, runtime_config: IRuntimeConfig | None = None) -> Any:
        self.config = runtime_config
        return self.context


class Runtime:
    """Loads an engine unless it says ``refused``."""

    engine_class = ICudaEngine
    last: ICudaEngine
    last_log: Any

    def __init__(self, log: Any) -> None:
        type(self).last_log = self._log = log

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        content = bytes(serialized_engine).decode()
        if content == "refused":
            self._log.log(ILogger.Severity.ERROR, "the engine is of another GPU.\n")
            return None
        type(self).last = self.engine_class(Path(content))
        return type(self).last


class Refitter:
    fits = True

    def __init__(self, engine: ICudaEngine, log: Any) -> None:
        self._log = log

    def refit_cuda_engine(self) -> bool:
        return True


class OnnxParserRefitter:
    """Takes its weights from a graph, and says from which."""

    last = ""

    def __init__(self, refitter: Refitter, log: Any) -> None:
        self._refitter = refitter

    def refit_from_file(self, model: str) -> bool:
        type(self).last = model
        return self._refitter.fits


# What each release has of the names that differ.
_COMMON = (
    "DataType",
    "TensorIOMode",
    "LayerType",
    "MemoryPoolType",
    "BuilderFlag",
    "ILogger",
    "IProgressMonitor",
    "IHostMemory",
    "ITimingCache",
    "IBuilderConfig",
    "INetworkDefinition",
    "Builder",
    "OnnxParser",
    "IExecutionContext",
    "ICudaEngine",
    "Runtime",
    "Refitter",
    "OnnxParserRefitter",
)


def fake_module(release: str) -> Any:
    """The package as ``release`` has it, of ``VERSIONS``; each call gives classes of its own."""
    module: Any = ModuleType("tensorrt_rtx" if release == "rtx" else "tensorrt")
    module.__version__ = VERSIONS[release]
    for name in _COMMON:
        base = globals()[name]
        is_enum = issubclass(base, IntEnum)
        setattr(module, name, base if is_enum else type(name, (base,), {}))
    module.Runtime.engine_class = module.ICudaEngine
    module.nptype = lambda kind: {DataType.FLOAT: np.float32, DataType.HALF: np.float16}[kind]
    flags = [("STRONGLY_TYPED", 1)]
    if release.startswith("10."):
        flags.append(("EXPLICIT_BATCH", 0))
    module.NetworkDefinitionCreationFlag = IntEnum("Flags", flags)  # type: ignore[misc]
    if release == "rtx":
        module.CudaGraphStrategy = CudaGraphStrategy
        module.ComputeCapability = ComputeCapability
    if release == "10.3":
        # It has no runtime configuration: a caller that asks for one fails.
        module.ICudaEngine.create_runtime_config = property()
    return module


def orin_record(**fields: Any) -> EngineRecord:
    """The record of an engine for an Orin on TensorRT 10.3; ``fields`` are the rest, or others."""
    known = {
        "backend": "tensorrt",
        "version": "10.3.0",
        "gpu": "Orin",
        "compute_capabilities": ("8.7",),
        "streams_weights": False,
        "is_stripped": False,
        "workspace_bytes": None,
        "built_at": datetime(2026, 11, 24, tzinfo=timezone.utc),
        "build_seconds": 1.5,
    }
    return EngineRecord.model_validate({**known, **fields})
