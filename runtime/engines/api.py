"""TensorRT and TensorRT-RTX behind one face: what their releases call things, in one table.

Both packages have the same Python API with differences by release; everything that differs is here,
and nothing else of the project asks for a version. Run so far: TensorRT-RTX 1.7, building without a
GPU. TensorRT 10.3 to 11.4 follows NVIDIA's documented API and has not run on hardware.

====================  ===================  ===================  ===================
what                  TensorRT 10.3        TensorRT 10.16       11.4, RTX 1.7
====================  ===================  ===================  ===================
strong typing         creation flag        creation flag        always; flag ignored
device memory size    device_memory_size   ..._v2               ..._v2
streaming budget      ..._budget_v2        ..._budget_v2        ..._budget_v2
targets named         no, this GPU         no, this GPU         RTX: compute capabilities
CUDA graph            by the caller        by the caller        RTX: runtime config
====================  ===================  ===================  ===================
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from adcopilot_edge.errors import ConfigError, MissingExtraError

Backend = Literal["tensorrt", "tensorrt-rtx"]
BACKENDS: tuple[Backend, ...] = ("tensorrt", "tensorrt-rtx")
# (major, minor), as NVIDIA writes 8.7 for Orin.
Capability: TypeAlias = tuple[int, int]

_MODULES: dict[Backend, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


@dataclass(frozen=True, slots=True)
class Api:
    """One of the two packages, imported; ``trt`` is its module."""

    backend: Backend
    trt: Any

    @property
    def version(self) -> str:
        """The release, as ``10.3.0``."""
        return str(self.trt.__version__)

    @property
    def names_targets(self) -> bool:
        """Whether engines are built for named compute capabilities, not for the GPU at hand."""
        return hasattr(self.trt, "ComputeCapability")

    def targets(self) -> tuple[Capability, ...]:
        """The compute capabilities that an engine can be built for by name."""
        if not self.names_targets:
            return ()
        names = [name for name in dir(self.trt.ComputeCapability) if name.startswith("SM")]
        return tuple(sorted((int(name[2:-1]), int(name[-1])) for name in names))

    def strong_typing(self) -> int:
        """Flags for a network whose types are the graph's own."""
        flag = getattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return 0 if flag is None else 1 << int(flag)

    def set_targets(self, config: Any, capabilities: Sequence[Capability]) -> None:
        """Tell a builder's configuration what to build for; nothing means the GPU at hand.

        Raises:
            ConfigError: This package can't build for one of them.
        """
        if not capabilities:
            return
        known = self.targets()
        if unknown := [item for item in capabilities if item not in known]:
            raise ConfigError(
                f"{self.backend} {self.version} can't build for compute capability "
                f"{_words(unknown)}; "
                + (
                    f"it knows {_words(known)}. On a Jetson build with --backend tensorrt."
                    if known
                    else "it builds for the GPU at hand. Leave --compute-capability out."
                )
            )
        config.num_compute_capabilities = len(capabilities)
        for index, (major, minor) in enumerate(capabilities):
            target = getattr(self.trt.ComputeCapability, f"SM{major}{minor}")
            config.set_compute_capability(target, index)

    def device_memory_bytes(self, engine: Any) -> int:
        """What an execution context of ``engine`` takes on the device."""
        name = "device_memory_size_v2"
        if not hasattr(engine, name):
            name = "device_memory_size"
        return int(getattr(engine, name))

    def create_context(self, engine: Any) -> Any:
        """An execution context that replays a CUDA graph where the API can be told to."""
        if not hasattr(self.trt, "CudaGraphStrategy"):
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = self.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return engine.create_execution_context(config)


def load_api(backend: Backend) -> Api:
    """Import the package of ``backend``. Raises MissingExtraError or ConfigError."""
    if backend not in _MODULES:
        raise ConfigError(f"backend must be one of {', '.join(_MODULES)}, got {backend!r}")
    try:
        module = importlib.import_module(_MODULES[backend])
    except ImportError as err:
        raise MissingExtraError(
            feature=f"the backend {backend}", extra=backend, package=_MODULES[backend]
        ) from err
    return Api(backend, module)


def parse_capabilities(words: Sequence[str]) -> tuple[Capability, ...]:
    """Compute capabilities of ``8.6`` or ``8.6,8.9``. Raises ConfigError."""
    found: list[Capability] = []
    for word in ",".join(words).replace(" ", "").split(","):
        major, dot, minor = word.partition(".")
        if not (dot and major.isdigit() and minor.isdigit() and len(minor) == 1):
            raise ConfigError(f"a compute capability is written 8.6 or 8.6,8.9, got {word!r}")
        found.append((int(major), int(minor)))
    return tuple(dict.fromkeys(found))


def _words(capabilities: Sequence[Capability]) -> str:
    return ", ".join(f"{major}.{minor}" for major, minor in capabilities)
