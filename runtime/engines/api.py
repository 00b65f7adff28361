"""TensorRT and TensorRT-RTX behind one face: what their releases call things, in one table.

Both packages have one Python API, with differences by release. Everything that differs is here, and
nothing else of the project asks for a release. The table was read off NVIDIA's own packages 10.3.0,
10.16.1 and 11.4.0 of ``tensorrt`` and 1.4.0 and 1.7.1 of ``tensorrt-rtx``. All that this project
calls and that is not in it is in all of them under one name, and deprecated in none.

===============  ===================  ===================  ===================  ====================
what             TensorRT 10.3        TensorRT 10.16       TensorRT 11.4        RTX 1.4 to 1.7
===============  ===================  ===================  ===================  ====================
strong typing    creation flag        creation flag        always; flag idle    always; flag idle
built for        the GPU at hand      the GPU at hand      the GPU at hand      compute capabilities
timing cache     yes                  yes                  yes                  no effect; warns
CUDA graph       by the caller        by the caller        by the caller        by a runtime config
===============  ===================  ===================  ===================  ====================

Where it is the caller's business, no CUDA graph is captured: that waits for a device on which it
can be seen to pay.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from adcopilot_edge.errors import ConfigError, MissingExtraError, ProviderUnavailableError

Backend = Literal["tensorrt", "tensorrt-rtx"]
BACKENDS: tuple[Backend, ...] = ("tensorrt", "tensorrt-rtx")
# (major, minor), as NVIDIA writes 8.7 for Orin.
Capability: TypeAlias = tuple[int, int]

_MODULES: dict[Backend, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_OLDEST: dict[Backend, tuple[int, int]] = {"tensorrt": (10, 3), "tensorrt-rtx": (1, 4)}


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
        return self.backend == "tensorrt-rtx"

    @property
    def times_kernels(self) -> bool:
        """Whether building measures kernels on the GPU, so that a timing cache saves work."""
        return self.backend == "tensorrt"

    def targets(self) -> tuple[Capability, ...]:
        """The compute capabilities that an engine can be built for by name."""
        if not self.names_targets:
            return ()
        names = [name for name in dir(self.trt.ComputeCapability) if name.startswith("SM")]
        return tuple(sorted((int(name[2:-1]), int(name[-1])) for name in names))

    def check_targets(self, capabilities: Sequence[Capability]) -> None:
        """Raise ConfigError unless engines can be built for each of ``capabilities``."""
        if capabilities and not self.names_targets:
            raise ConfigError(
                f"{self.backend} builds for the GPU at hand: leave out the compute capability, or "
                "take --backend tensorrt-rtx"
            )
        known = self.targets()
        if unknown := [item for item in capabilities if item not in known]:
            raise ConfigError(
                f"{self.backend} {self.version} can't build for compute capability "
                f"{format_capabilities(unknown)}; it knows {format_capabilities(known)}. For a "
                "Jetson build on the device itself, with --backend tensorrt."
            )
        if self.names_targets and not capabilities:
            raise ConfigError(
                f"{self.backend} builds by name: say which with --compute-capability, of "
                f"{format_capabilities(known)}"
            )

    def set_targets(self, config: Any, capabilities: Sequence[Capability]) -> None:
        """Tell a builder's configuration what to build for, as far as that is named."""
        if not self.names_targets:
            return
        config.num_compute_capabilities = len(capabilities)
        for index, (major, minor) in enumerate(capabilities):
            target = getattr(self.trt.ComputeCapability, f"SM{major}{minor}")
            config.set_compute_capability(target, index)

    def strong_typing(self) -> int:
        """Flags for a network whose types are the graph's own."""
        flag = getattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return 0 if flag is None else 1 << int(flag)

    def create_context(self, engine: Any) -> Any:
        """An execution context, None where memory is short; it replays a CUDA graph if it can."""
        if not hasattr(self.trt, "CudaGraphStrategy"):
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = self.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return engine.create_execution_context(config)


def load_api(backend: Backend) -> Api:
    """Import the package of ``backend``.

    Raises:
        ConfigError: There is no such backend, or the package is too old.
        MissingExtraError: The package is not installed.
        ProviderUnavailableError: It does not load here.
    """
    if backend not in _MODULES:
        raise ConfigError(f"backend must be one of {', '.join(_MODULES)}, got {backend!r}")
    name = _MODULES[backend]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as err:
        if err.name != name:
            raise _broken(backend, err) from err
        raise MissingExtraError(
            feature=f"the backend {backend}", extra=backend, package=name
        ) from err
    except (ImportError, OSError) as err:
        raise _broken(backend, err) from err
    api, oldest = Api(backend, module), _OLDEST[backend]
    if tuple(map(int, re.findall(r"\d+", api.version)[:2])) < oldest:
        raise ConfigError(
            f"{backend} {api.version} is too old, {oldest[0]}.{oldest[1]} is needed. Install it "
            f"with: pip install 'adcopilot-edge[{backend}]'; on a Jetson with JetPack 6 or newer"
        )
    return api


def parse_capabilities(words: Sequence[str]) -> tuple[Capability, ...]:
    """Compute capabilities of ``8.6`` or ``8.6,8.9``. Raises ConfigError."""
    found: list[Capability] = []
    for word in ",".join(words).replace(" ", "").split(",") if words else ():
        major, dot, minor = word.partition(".")
        if not (dot and major.isdecimal() and minor.isdecimal() and len(minor) == 1):
            raise ConfigError(f"a compute capability is written 8.6, several 8.6,8.9; got {word!r}")
        found.append((int(major), int(minor)))
    return tuple(dict.fromkeys(found))


def format_capabilities(capabilities: Sequence[Capability]) -> str:
    """``8.6, 8.9``: compute capabilities in words."""
    return ", ".join(f"{major}.{minor}" for major, minor in capabilities)


def _broken(backend: Backend, err: Exception) -> ProviderUnavailableError:
    return ProviderUnavailableError(
        f"the package of the backend {backend} is installed but does not load: {err}. Install it "
        "again, for this system's CUDA; see what this machine has: adcopilot-edge doctor"
    )
