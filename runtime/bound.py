"""Graphs on bound buffers: what they read and write is allocated once, not in every run.

Knows nothing of what the buffers hold, nor how a session is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from adcopilot_edge.runtime.ort import load_onnxruntime, translated_errors
from adcopilot_edge.runtime.tensors import AnyArray, TensorSpec, as_on_device, check_feeds


class BindableSession(Protocol):
    """A session of onnxruntime that runs with bindings, as ``GraphSession`` is."""

    name: str
    provider: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    def io_binding(self) -> Any:
        """Return a new, empty onnxruntime IOBinding of this session."""
        ...

    def run_bound(self, binding: Any) -> None:
        """Run with an IOBinding. Raises SessionError."""
        ...


class Buffer:
    """A tensor that stays on the provider's device, for graphs to read and write in place."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, provider: str) -> None:
        ort = load_onnxruntime()
        # On the CPU the OrtValue is this very memory; elsewhere a copy of it.
        self._host: AnyArray = np.zeros(shape, dtype)
        self._is_host = provider == "cpu"
        with translated_errors("can't allocate a buffer"):
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


class BoundGraph:
    """A graph whose state lives in buffers.

    On the CPU a run reads its feeds where they lie and writes each output of fixed shape to the
    same memory every time. On another device it copies feeds there and those outputs back.
    """

    def __init__(self, session: BindableSession, state: Mapping[tuple[str, str], Buffer]) -> None:
        self._session = session
        self._binding = session.io_binding()
        for (source, target), buffer in state.items():
            self._binding.bind_ortvalue_input(source, buffer.value)
            self._binding.bind_ortvalue_output(target, buffer.value)
        sources = [source for source, _ in state]
        targets = [target for _, target in state]
        self._inputs = {name: spec for name, spec in session.inputs.items() if name not in sources}
        self._fed: dict[str, AnyArray] = {}
        self._fixed = {
            name: np.zeros(_lengths(spec), spec.dtype)
            for name, spec in session.outputs.items()
            if name not in targets and session.provider == "cpu" and None not in spec.shape
        }
        for name, array in self._fixed.items():
            self._binding.bind_output(
                name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data
            )
        bound = {*targets, *self._fixed}
        self._varying = [name for name in session.outputs if name not in bound]
        self._num_bound = len(bound)

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run once; the buffers hold the new state afterwards.

        Args:
            feeds: An array for each input that is no buffer, on the host or on the device. One
                that was fed the last time too costs nothing, whatever was written to it since.

        Returns:
            The outputs that are no buffers, valid until the next run.

        Raises:
            SessionError: A feed does not fit, or onnxruntime fails.
        """
        new = [name for name, array in feeds.items() if self._fed.get(name) is not array]
        if new or len(feeds) != len(self._inputs):
            check_feeds(self._session.name, self._inputs, feeds)
            for name in new:
                self._feed(name, feeds[name])
        for name in self._varying:
            self._binding.bind_output(name, "cpu")
        self._session.run_bound(self._binding)
        if not self._varying:
            return dict(self._fixed)
        # Outputs come in the order in which their names were first bound. copy_outputs_to_cpu
        # would copy the state as well.
        values = self._binding.get_outputs()[self._num_bound :]
        varying = zip(self._varying, values, strict=True)
        return self._fixed | {name: value.numpy() for name, value in varying}

    def _feed(self, name: str, array: AnyArray) -> None:
        """Make ``array`` the input ``name`` of this run, and of later ones where it is in place."""
        self._fed.pop(name, None)
        if (there := as_on_device(array)) is not None:
            self._binding.bind_input(
                name, there.device, 0, there.dtype.type, there.shape, there.address
            )
            return
        self._binding.bind_cpu_input(name, np.require(array, requirements="C"))
        # Elsewhere, and of an array in another order, what was bound is a copy.
        if self._session.provider == "cpu" and array.flags.c_contiguous:
            self._fed[name] = array


def _lengths(spec: TensorSpec) -> tuple[int, ...]:
    """The shape of a tensor whose lengths are all fixed."""
    return tuple(length for length in spec.shape if length is not None)
