"""A tensor on a device that looks like a numpy array, and is copied only when somebody reads it."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from copy import copy as shallow_copy
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from adcopilot_edge.errors import SessionError
from adcopilot_edge.runtime.cuda import open_stream
from adcopilot_edge.runtime.ort import error_classes, load_onnxruntime
from adcopilot_edge.runtime.tensors import AnyArray, as_on_device


class DeviceArray:
    """Memory from onnxruntime's allocator, with dtype and shape as numpy has them.

    Args:
        shape: Lengths.
        dtype: A numpy type.
        device: As onnxruntime calls it.

    Raises:
        SessionError: There is no such device, or its memory is short.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, device: str = "cuda") -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.device = device
        ort, zeros = load_onnxruntime(), np.zeros(shape, dtype)
        try:
            self._value: Any = ort.OrtValue.ortvalue_from_numpy(zeros, device)
        except error_classes() as err:
            raise SessionError(
                f"onnxruntime gives no {zeros.nbytes >> 20} MiB on the device {device!r}: {err}. "
                "Close other programs on it; see what this machine has: adcopilot-edge doctor"
            ) from err

    @property
    def ndim(self) -> int:
        """The number of lengths."""
        return len(self.shape)

    @property
    def address(self) -> int:
        """Where the tensor begins on the device."""
        return int(self._value.data_ptr())

    def view(self, shape: tuple[int, ...]) -> DeviceArray:
        """The first values of the same memory under another shape."""
        other = shallow_copy(self)
        other.shape = shape
        return other

    def write(self, array: AnyArray) -> None:
        """Overwrite the whole tensor with ``array``, of this dtype and shape."""
        self._value.update_inplace(np.ascontiguousarray(array))

    def join(self, parts: Sequence[AnyArray]) -> int:
        """Overwrite the first rows with those of ``parts``, which lie on the host or on the device.

        Returns:
            The number of rows.
        """
        rows = [
            np.ascontiguousarray(part) if as_on_device(part) is None else part for part in parts
        ]
        num_rows = sum(int(part.shape[0]) for part in rows)
        assert num_rows <= self.shape[0], f"{num_rows} rows do not fit into {self.shape}"
        target = self.address
        for part in rows:
            assert part.dtype == self.dtype, f"{part.dtype} is not {self.dtype}"
            assert part.shape[1:] == self.shape[1:], f"{part.shape} are no rows of {self.shape}"
            num_bytes = math.prod(part.shape) * self.dtype.itemsize
            there = as_on_device(part)
            source = part.ctypes.data if there is None else there.address
            self._copy(target, source, num_bytes)
            target += num_bytes
        if self.device != "cpu":
            open_stream().synchronize()  # the rows on the host may go only now
        return num_rows

    def _copy(self, target: int, source: int, num_bytes: int) -> None:
        if self.device == "cpu":
            ctypes.memmove(target, source, num_bytes)
        else:
            open_stream().copy(target, source, num_bytes)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        if copy is False:
            raise ValueError("an array on a device can't be read without a copy")
        whole = self._value.numpy().reshape(-1)
        array: AnyArray = whole[: math.prod(self.shape)].reshape(self.shape)
        # The runtime's array of a CPU tensor is the tensor itself, which the next run overwrites.
        return array.astype(dtype or self.dtype, copy=True)
