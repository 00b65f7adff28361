"""Run an engine: buffers allocated once, results on the device until somebody reads them.

The buffers are onnxruntime's own CUDA tensors, so that engines and the decoder on onnxruntime's
CUDA provider share one allocator and one address space. An output of one engine is an input of the
next, and of the decoder, by its address.

Order. Engines run on the process's one stream, which is not the default stream, and a run ends with
a wait for it: its results may then be read from any stream. onnxruntime's copies to and from its
tensors return when they are done; its CUDA provider waits for its own stream at the end of a run.
So nothing is ever read before it is written.

Written against NVIDIA's documented API; it has not run on hardware yet.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from adcopilot_edge.bundle import hash_file
from adcopilot_edge.errors import EngineError, SessionError
from adcopilot_edge.runtime.bound import Buffer
from adcopilot_edge.runtime.cuda import open_stream
from adcopilot_edge.runtime.device_array import DeviceArray
from adcopilot_edge.runtime.engines.api import Api
from adcopilot_edge.runtime.engines.log import open_log, start
from adcopilot_edge.runtime.engines.record import EngineRecord
from adcopilot_edge.runtime.session import Runner
from adcopilot_edge.runtime.tensors import (
    AnyArray,
    TensorSpec,
    as_on_device,
    check_feeds,
    require_names,
)


class Waiting(Protocol):
    """A stream: where work is put, and how to wait for it."""

    handle: int

    def synchronize(self) -> None:
        """Wait for all that was begun. Raises SessionError where it failed."""
        ...


class EngineGraph:
    """An engine that stands for a graph of a bundle; it offers what ``GraphSession`` offers.

    Args:
        engine: The file.
        record: Its record, which fits this machine.
        api: The package that it was built with.
        graph: The ONNX file, from which a stripped engine takes its weights.
        device: Where its buffers lie, as onnxruntime calls it.
        rebuild: The command that builds the engine again.
        stream: Where it runs; None is the process's one stream.

    Raises:
        EngineError: The file is damaged, or the package refuses it.
        ProviderUnavailableError: There is no GPU.
    """

    def __init__(
        self,
        engine: Path,
        record: EngineRecord,
        api: Api,
        *,
        graph: Path,
        device: str,
        rebuild: str,
        stream: Waiting | None = None,
    ) -> None:
        self.name = engine.name
        self.provider: str = record.backend
        self._api = api
        self._stream: Waiting = open_stream() if stream is None else stream
        # Alive as long as the context, which refers to both.
        self._owners = _load(engine, record, api, graph, rebuild)
        loaded = self._owners[1]
        log = open_log(api)
        self._context = api.create_context(loaded)
        if self._context is None:
            raise EngineError(
                f"{engine} needs {loaded.device_memory_size_v2 >> 20} MiB of GPU memory to run: "
                f"{log.said()}. Close other programs on the GPU."
            )
        self.inputs, self.outputs = _specs(api, loaded)
        self._buffers = {
            spec.name: _buffer(spec, device)
            for spec in (*self.inputs.values(), *self.outputs.values())
        }
        self._addresses: dict[str, int] = {}
        for name, buffer in self._buffers.items():
            self._point(name, buffer.address)
        self._held: dict[str, AnyArray] = {}

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run once.

        Args:
            feeds: An array for each input. One that lies on the device is not copied, nor is a
                read-only one that was given the last time too.

        Returns:
            The outputs on the device, readable as numpy arrays, valid until the next run.

        Raises:
            SessionError: A feed does not fit, or the engine fails.
        """
        check_feeds(self.name, self.inputs, feeds)
        log = open_log(self._api)
        for name, array in feeds.items():
            self._feed(name, array)
        if not self._context.execute_async_v3(self._stream.handle):
            raise SessionError(f"{self.name} failed: {log.said()}")
        self._stream.synchronize()
        return {name: self._buffers[name] for name in self.outputs}  # type: ignore[misc]

    def _feed(self, name: str, array: AnyArray) -> None:
        """Make ``array`` the input ``name`` of the next run."""
        if (there := as_on_device(array)) is not None:
            self._point(name, there.address)
            return
        buffer = self._buffers[name]
        if self._held.get(name) is not array:
            self._held.pop(name, None)
            buffer.write(array)
            if array.flags.owndata and not array.flags.writeable:  # it will never be another
                self._held[name] = array
        self._point(name, buffer.address)

    def _point(self, name: str, address: int) -> None:
        """Tell the engine where a tensor is, unless it knows."""
        if self._addresses.get(name) == address:
            return
        if not self._context.set_tensor_address(name, address):
            raise SessionError(f"{self.name} takes no memory for {name}")
        self._addresses[name] = address

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


def _load(
    engine: Path, record: EngineRecord, api: Api, graph: Path, rebuild: str
) -> tuple[Any, Any]:
    """TensorRT's runtime, and the engine in it with its weights. Raises EngineError."""
    log = open_log(api)
    runtime = start(api, "Runtime", log)
    with _mapped(engine, record, rebuild) as content:
        loaded = runtime.deserialize_cuda_engine(content)
    if loaded is None or (record.is_stripped and not _refit(api, loaded, graph, log)):
        raise EngineError(
            f"{api.backend} {api.version} can't load {engine}: {log.said()}. Build it again with: "
            f"{rebuild}"
        )
    if record.streams_weights:
        loaded.weight_streaming_budget_v2 = loaded.get_weight_streaming_automatic_budget()
    return runtime, loaded


@contextmanager
def _mapped(engine: Path, record: EngineRecord, rebuild: str) -> Iterator[mmap.mmap]:
    """The bytes of an engine, which are those that were built. Raises EngineError.

    A damaged one may crash the process, so TensorRT does not get to see it. The file is mapped:
    read, it would be in memory once more.
    """
    if engine.stat().st_size != record.size_bytes or hash_file(engine) != record.sha256:
        raise EngineError(f"{engine} is damaged. Build it again with: {rebuild}")
    with engine.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def _refit(api: Api, engine: Any, graph: Path, log: Any) -> bool:
    """Give a stripped engine the weights of the graph; returns whether they fit."""
    refitter = api.trt.Refitter(engine, log)
    reader = api.trt.OnnxParserRefitter(refitter, log)
    return bool(reader.refit_from_file(str(graph)) and refitter.refit_cuda_engine())


def _specs(api: Api, engine: Any) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    """The inputs and the outputs of ``engine``, each in its order."""
    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        is_input = engine.get_tensor_mode(name) == api.trt.TensorIOMode.INPUT
        (inputs if is_input else outputs)[name] = TensorSpec(
            name=name,
            dtype=np.dtype(api.trt.nptype(engine.get_tensor_dtype(name))),
            shape=tuple(engine.get_tensor_shape(name)),
        )
    return inputs, outputs


def _buffer(spec: TensorSpec, device: str) -> DeviceArray:
    """Memory for one tensor, whose shape is fixed."""
    shape = tuple(length for length in spec.shape if length is not None)
    return DeviceArray(shape, spec.dtype, device)
