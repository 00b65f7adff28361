"""ONNX graphs on onnxruntime: providers, threads, checked borders.

It knows nothing of what a graph computes, nor how one runs on bound buffers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from adcopilot_edge.errors import ConfigError, ProviderUnavailableError, SessionError
from adcopilot_edge.runtime.bound import BoundGraph, Buffer
from adcopilot_edge.runtime.ort import load_onnxruntime, translated_errors
from adcopilot_edge.runtime.tensors import AnyArray, TensorSpec, check_feeds, require_names
from adcopilot_edge.runtime.threads import Threads, session_options

PROVIDER_CLASSES: dict[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}
# On by default, TF32 would round the factors of float32 products to 10 bits, as float16 does.
_PROVIDER_OPTIONS: dict[str, dict[str, str]] = {"cuda": {"use_tf32": "0"}}

_DTYPES: dict[str, DTypeLike] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


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
        options = session_options(ort, path, num_threads, has_fixed_shapes=has_fixed_shapes)
        if keeps_order:
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        # They must live until the session is open, which copies what it needs.
        values = [ort.OrtValue.ortvalue_from_numpy(one) for one in (initializers or {}).values()]
        with translated_errors(f"can't open {path}"):
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
        with translated_errors(f"{self.name} failed"):
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
        with translated_errors(f"{self.name} failed"):
            self._session.run_with_iobinding(binding)


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
