"""A tensor on a device that looks like a numpy array, and is copied only when somebody reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from adcopilot_edge.runtime.session import load_onnxruntime
from adcopilot_edge.runtime.tensors import AnyArray


class DeviceArray:
    """Memory from onnxruntime's allocator, with dtype and shape as numpy has them.

    Args:
        shape: Lengths.
        dtype: A numpy type.
        device: ``cuda``, or ``cpu`` for tests.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, device: str = "cuda") -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.dtype = np.dtype(dtype)
        ort = load_onnxruntime()
        self._value: Any = ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype), device)

    @property
    def address(self) -> int:
        """Where the tensor begins on the device."""
        return int(self._value.data_ptr())

    def write(self, array: AnyArray) -> None:
        """Overwrite the whole tensor with ``array``, of this dtype and shape."""
        self._value.update_inplace(np.ascontiguousarray(array))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        # The runtime's array of a CPU tensor is the tensor itself, which the next run overwrites.
        array: AnyArray = self._value.numpy().astype(dtype or self.dtype, copy=True)
        return array
