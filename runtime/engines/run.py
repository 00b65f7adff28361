"""Run an engine: buffers allocated once, results on the device until somebody reads them.

The buffers are onnxruntime's own CUDA tensors, so that the decoder on onnxruntime's CUDA provider
and the engines share one allocator and one address space, and no further package is needed. Written
against NVIDIA's documented API; it has not run on hardware yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adcopilot_edge.errors import EngineError, SessionError
from adcopilot_edge.runtime.device_array import DeviceArray
from adcopilot_edge.runtime.engines.api import Api
from adcopilot_edge.runtime.engines.log import open_log
from adcopilot_edge.runtime.engines.record import EngineRecord
from adcopilot_edge.runtime.session import Buffer, Runner
from adcopilot_edge.runtime.tensors import AnyArray, TensorSpec, check_feeds, require_names


class EngineGraph:
    """An engine that stands for a graph of a bundle; it offers what ``GraphSession`` offers.

    Args:
        engine: The file.
        record: Its record, which fits this machine.
        api: The package that it was built with.
        graph: The ONNX file, from which a stripped engine takes its weights.
        device: Where its buffers lie.

    Raises:
        EngineError: The package refuses the engine.
    """

    def __init__(
        self, engine: Path, record: EngineRecord, api: Api, graph: Path, device: str = "cuda"
    ) -> None:
        self.name = engine.name
        self.provider: str = record.backend
        self._log = open_log(api)
        runtime = api.trt.Runtime(self._log)
        loaded = runtime.deserialize_cuda_engine(engine.read_bytes())
        if loaded is None:
            raise EngineError(
                f"{record.backend} can't load {engine}: {self._log.said()}. Build it again."
            )
        if record.is_stripped:
            _refit(api, loaded, graph, self._log)
        if record.streams_weights:
            loaded.weight_streaming_budget_v2 = loaded.get_weight_streaming_automatic_budget()
        specs = _specs(api, loaded)
        self.inputs = {spec.name: spec for spec, is_input in specs if is_input}
        self.outputs = {spec.name: spec for spec, is_input in specs if not is_input}
        self._context = api.create_context(loaded)
        if self._context is None:
            raise EngineError(
                f"{engine} needs {api.device_memory_bytes(loaded) >> 20} MiB of GPU memory to run: "
                f"{self._log.said()}. Close other programs on the GPU."
            )
        # Alive as long as the context: it refers to all of them.
        self._owners = (runtime, loaded)
        self._order = [spec.name for spec, _ in specs]
        self._buffers = {
            spec.name: DeviceArray(tuple(length or 1 for length in spec.shape), spec.dtype, device)
            for spec, _ in specs
        }

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run once.

        Args:
            feeds: An array for each input; one that is on the device already is not copied.

        Returns:
            The outputs on the device, readable as numpy arrays, valid until the next run.

        Raises:
            SessionError: A feed does not fit, or the engine fails.
        """
        check_feeds(self.name, self.inputs, feeds)
        addresses = {name: buffer.address for name, buffer in self._buffers.items()}
        for name, array in feeds.items():
            if isinstance(array, DeviceArray):
                addresses[name] = array.address
            else:
                self._buffers[name].write(array)
        if not self._context.execute_v2([addresses[name] for name in self._order]):
            raise SessionError(f"{self.name} failed: {self._log.said()}")
        return {name: self._buffers[name] for name in self.outputs}  # type: ignore[misc]

    def bind(self, state: Mapping[tuple[str, str], Buffer]) -> Runner:
        """Engines of the vision side keep no state. Raises SessionError where one is asked for."""
        if state:
            raise SessionError(f"{self.name} is an engine, which updates nothing in place")
        return self

    def require(self, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Raise SessionError unless the engine has these inputs and outputs, maybe others."""
        require_names(
            self.name, self.inputs, self.outputs, wanted_inputs=inputs, wanted_outputs=outputs
        )


def _specs(api: Api, engine: Any) -> list[tuple[TensorSpec, bool]]:
    """Every input and output in the engine's order, and whether it is an input."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return [
        (
            TensorSpec(
                name=name,
                dtype=np.dtype(api.trt.nptype(engine.get_tensor_dtype(name))),
                shape=tuple(engine.get_tensor_shape(name)),
            ),
            engine.get_tensor_mode(name) == api.trt.TensorIOMode.INPUT,
        )
        for name in names
    ]


def _refit(api: Api, engine: Any, graph: Path, log: Any) -> None:
    """Give a stripped engine the weights of the graph. Raises EngineError."""
    refitter = api.trt.Refitter(engine, log)
    reader = api.trt.OnnxParserRefitter(refitter, log)
    if not (reader.refit_from_file(str(graph)) and refitter.refit_cuda_engine()):
        raise EngineError(
            f"the weights of {graph.name} do not fit its stripped engine: {log.said()}. "
            "Build it again."
        )
