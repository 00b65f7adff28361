"""ONNX graphs on onnxruntime: providers, threads, checked borders, buffers updated in place.

The only module of the project that imports onnxruntime, and the border at which its errors become
ours. It knows nothing of what a graph computes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from adcopilot_edge.errors import (
    ConfigError,
    MissingExtraError,
    ProviderUnavailableError,
    SessionError,
)
from adcopilot_edge.runtime.tensors import (
    AnyArray,
    OnDevice,
    TensorSpec,
    check_feeds,
    require_names,
)
from adcopilot_edge.runtime.threads import Threads, session_options

PROVIDER_CLASSES: dict[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}
# On by default, TF32 would round the factors of float32 products to 10 bits, as float16 does.
_PROVIDER_OPTIONS: dict[str, dict[str, str]] = {"cuda": {"use_tf32": "0"}}

# What to do about each exception class of onnxruntime. They share no base class, so each is named;
# a test fails when a release brings one that is not here.
ADVICE = {
    "DeviceReset": "The device was reset; open the bundle again.",
    "EPFail": "The execution provider failed; see that its driver and libraries fit together.",
    "EngineError": "The engine failed; export the bundle again on this release.",
    "Fail": "See the reason above; `adcopilot-edge doctor` shows what this machine has.",
    "InvalidArgument": "The graph does not fit its manifest; export the bundle again.",
    "InvalidGraph": "This onnxruntime can't use the graph; install the release that exported it.",
    "InvalidProtobuf": "The file is no ONNX graph; copy the bundle again.",
    "ModelLoadCanceled": "Loading was cancelled; open the bundle again.",
    "ModelLoaded": "The graph was loaded twice; open the bundle again.",
    "ModelRequiresCompilation": "The provider needs a compiled graph; build the bundle for it.",
    "NoModel": "The file holds no graph; copy the bundle again.",
    "NoSuchFile": "A file of the bundle is missing; copy the bundle again.",
    "NotFound": "Something the graph refers to is missing; copy the bundle again.",
    "NotImplemented": "This onnxruntime lacks an operator of the graph; install a newer one.",
    "RuntimeException": "The run failed, perhaps for lack of memory; see the reason above.",
}

_ERROR_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")

_DTYPES: dict[str, DTypeLike] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


def load_onnxruntime() -> ModuleType:
    """Return the onnxruntime module. Raises MissingExtraError where it is not installed."""
    try:
        import onnxruntime
    except ImportError as err:
        raise MissingExtraError(
            feature="running a bundle", extra="cpu", package="onnxruntime"
        ) from err
    module: ModuleType = onnxruntime
    return module


def error_classes() -> tuple[type[Exception], ...]:
    """Return the exception classes of the installed onnxruntime that are turned into ours."""
    load_onnxruntime()
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    # A release has some of the names only. A run with bound buffers raises a bare RuntimeError.
    named = [getattr(native, name) for name in ADVICE if hasattr(native, name)]
    return (*named, RuntimeError)


class Runner(Protocol):
    """Something that runs a graph: feeds by name in, outputs by name out."""

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run once. Raises SessionError."""
        ...


class Graph(Runner, Protocol):
    """A graph ready to run, as ``GraphSession`` is; others may run one differently."""

    name: str
    provider: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    def bind(self, state: Mapping[tuple[str, str], Buffer]) -> Runner:
        """The graph with buffers that it updates in place; see ``GraphSession.bind``."""
        ...

    def require(self, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Raise SessionError unless the graph has these inputs and outputs."""
        ...


class OpenGraph(Protocol):
    """How a graph of a bundle is opened; the arguments are ``GraphSession``'s."""

    def __call__(
        self,
        path: Path,
        *,
        provider: str,
        num_threads: Threads,
        has_fixed_shapes: bool = True,
        keeps_order: bool = False,
    ) -> Graph:
        """Open ``path``. Raises as ``GraphSession``."""
        ...


class Buffer:
    """A tensor that stays on the provider's device, for graphs to read and write in place."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, provider: str) -> None:
        ort = load_onnxruntime()
        # On the CPU the OrtValue is this very memory; elsewhere a copy of it.
        self._host: AnyArray = np.zeros(shape, dtype)
        self._is_host = provider == "cpu"
        with _translated_errors("can't allocate a buffer"):
            self.value: Any = ort.OrtValue.ortvalue_from_numpy(self._host, provider)

    def read(self, start: int, stop: int) -> AnyArray:
        """Return a copy of the rows ``start:stop`` of the last axis but one."""
        if not self._is_host:
            self._host = self.value.numpy()
        return self._host[..., start:stop, :].copy()

    def write(self, start: int, rows: AnyArray) -> None:
        """Overwrite the rows from ``start`` on of the last axis but one."""
        if not self._is_host:
            self._host = self.value.numpy()
        self._host[..., start : start + rows.shape[-2], :] = rows
        if not self._is_host:
            self.value.update_inplace(self._host)


class GraphSession:
    """One graph of a bundle, ready to run on one provider.

    Args:
        path: The ONNX file; its external data lies beside it.
        provider: Where to run. There is no fallback to another one.
        num_threads: Threads of one operator, or all settings of its threads; None leaves the
            choice to onnxruntime.
        has_fixed_shapes: Whether each run has the same shapes; then the memory plan is kept.
        keeps_order: Whether nodes run in the order of the file. onnxruntime's own order starts with
            what the last output needs and leaves all others, with all that they read, to the end:
            much memory where a graph tells of every layer.
        initializers: Tensors to take instead of those of these names in the graph's data file.

    Raises:
        ConfigError: ``provider`` is unknown, or ``num_threads`` below 1.
        ProviderUnavailableError: The provider is not in this onnxruntime, or did not start.
        SessionError: onnxruntime refuses the graph.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        provider: str = "cpu",
        num_threads: Threads = None,
        has_fixed_shapes: bool = True,
        keeps_order: bool = False,
        initializers: Mapping[str, AnyArray] | None = None,
    ) -> None:
        ort = load_onnxruntime()
        check_provider(provider)
        self.name = path.name
        self.provider = provider
        wanted = PROVIDER_CLASSES[provider]
        options = session_options(ort, num_threads, has_fixed_shapes=has_fixed_shapes)
        if keeps_order:
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        # They must live until the session is open, which copies what it needs.
        values = [ort.OrtValue.ortvalue_from_numpy(one) for one in (initializers or {}).values()]
        with _translated_errors(f"can't open {path}"):
            if initializers:
                options.add_external_initializers(list(initializers), values)
            self._session: Any = ort.InferenceSession(
                str(path),
                options,
                providers=[(wanted, _PROVIDER_OPTIONS.get(provider, {}))],
                enable_fallback=0,  # it would print to stdout and go on with another provider
            )
        if (started := self._session.get_providers())[0] != wanted:
            raise ProviderUnavailableError(
                f"{wanted} did not start for {path}; onnxruntime offers {', '.join(started)} "
                "instead. Check the driver and the libraries with: adcopilot-edge doctor"
            )
        self.inputs = {spec.name: spec for spec in map(_spec, self._session.get_inputs())}
        self.outputs = {spec.name: spec for spec in map(_spec, self._session.get_outputs())}

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run the graph once.

        Args:
            feeds: An array for each input, of the graph's dtype and shape.

        Returns:
            All outputs by name.

        Raises:
            SessionError: A feed does not fit, or onnxruntime fails.
        """
        check_feeds(self.name, self.inputs, feeds)
        with _translated_errors(f"{self.name} failed"):
            arrays = self._session.run(None, dict(feeds))
        return dict(zip(self.outputs, arrays, strict=True))

    def bind(self, state: Mapping[tuple[str, str], Buffer]) -> BoundGraph:
        """Return the graph with buffers that it updates in place.

        Args:
            state: For each pair (input, output) the one buffer that is both.

        Raises:
            SessionError: The graph has no such input or output.
        """
        for source, target in state:
            self.require(inputs=[source], outputs=[target])
        return BoundGraph(self, state)

    def require(self, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Raise SessionError unless the graph has these inputs and outputs, maybe among others."""
        require_names(
            self.name, self.inputs, self.outputs, wanted_inputs=inputs, wanted_outputs=outputs
        )

    def io_binding(self) -> Any:
        """Return a new, empty onnxruntime IOBinding of this session."""
        return self._session.io_binding()

    def run_bound(self, binding: Any) -> None:
        """Run with an IOBinding. Raises SessionError."""
        with _translated_errors(f"{self.name} failed"):
            self._session.run_with_iobinding(binding)


class BoundGraph:
    """A graph whose state lives in buffers: a run copies only its feeds and its other outputs."""

    def __init__(self, session: GraphSession, state: Mapping[tuple[str, str], Buffer]) -> None:
        self._session = session
        self._binding = session.io_binding()
        for (source, target), buffer in state.items():
            self._binding.bind_ortvalue_input(source, buffer.value)
            self._binding.bind_ortvalue_output(target, buffer.value)
        sources = [source for source, _ in state]
        targets = [target for _, target in state]
        self._inputs = {name: spec for name, spec in session.inputs.items() if name not in sources}
        self._results = [name for name in session.outputs if name not in targets]
        self._num_targets = len(targets)

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run once; the buffers hold the new state afterwards.

        Args:
            feeds: An array for each input that is no buffer, on the host or on the device.

        Returns:
            The outputs that are no buffers.

        Raises:
            SessionError: A feed does not fit, or onnxruntime fails.
        """
        check_feeds(self._session.name, self._inputs, feeds)
        for name, array in feeds.items():
            if isinstance(array, OnDevice):
                self._binding.bind_input(
                    name, array.device, 0, array.dtype.type, array.shape, array.address
                )
            else:
                self._binding.bind_cpu_input(name, np.require(array, requirements="C"))
        for name in self._results:
            self._binding.bind_output(name, "cpu")
        self._session.run_bound(self._binding)
        # Outputs come in the order in which their names were first bound. copy_outputs_to_cpu
        # would copy the state as well.
        values = self._binding.get_outputs()[self._num_targets :]
        return {name: value.numpy() for name, value in zip(self._results, values, strict=True)}


def check_provider(provider: str) -> None:
    """Raise unless this onnxruntime has ``provider``.

    Raises:
        ConfigError: There is no provider of that name.
        ProviderUnavailableError: This onnxruntime was built without it.
        MissingExtraError: onnxruntime is not installed.
    """
    if provider not in PROVIDER_CLASSES:
        raise ConfigError(
            f"provider must be one of {', '.join(PROVIDER_CLASSES)}, got {provider!r}"
        )
    available = load_onnxruntime().get_available_providers()
    if PROVIDER_CLASSES[provider] not in available:
        raise ProviderUnavailableError(
            f"the provider '{provider}' is not in this onnxruntime, which has "
            f"{', '.join(available)}. For an NVIDIA GPU install: pip install 'adcopilot-edge[gpu]'"
        )


def _spec(node: Any) -> TensorSpec:
    """The spec of an onnxruntime NodeArg; symbolic lengths become None."""
    if node.type not in _DTYPES:
        raise SessionError(f"'{node.name}' is a {node.type}, which no graph of a bundle has")
    shape = tuple(length if isinstance(length, int) else None for length in node.shape)
    return TensorSpec(name=node.name, dtype=np.dtype(_DTYPES[node.type]), shape=shape)


@contextmanager
def _translated_errors(what: str) -> Iterator[None]:
    """Turn what onnxruntime raises into SessionError: what failed, why, and what to do."""
    try:
        yield
    except error_classes() as err:
        reason = _ERROR_PREFIX.sub("", str(err)).strip(" .\n")
        advice = ADVICE.get(type(err).__name__, ADVICE["RuntimeException"])
        raise SessionError(f"{what}: {reason}. {advice}") from err
