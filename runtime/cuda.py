"""The NVIDIA driver: which GPU there is, a stream to run on, copies on the device.

The driver's library alone, by ctypes, so that a device needs no further package. All happens in the
GPU's primary context, which is the one that onnxruntime and TensorRT work in.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

from adcopilot_edge.errors import EdgeError, ProviderUnavailableError, SessionError

_LIBRARY = "libcuda.so.1"
_ORDINAL = 0  # onnxruntime's and TensorRT's default device
# Of the driver's API: two of CUdevice_attribute, one of CUstream_flags.
_MAJOR, _MINOR, _NON_BLOCKING = 75, 76, 1
_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU; capability: (major, minor), as (8, 7) of a Jetson Orin."""

    name: str
    capability: tuple[int, int]


def find_gpu() -> Gpu:
    """The first GPU. Raises ProviderUnavailableError where there is none."""
    driver, device = _open_driver()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call(driver, "cuDeviceGetName", name, _NAME_BYTES, device)
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(major), _MAJOR, device)
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(minor), _MINOR, device)
    return Gpu(name.value.decode(errors="replace"), (major.value, minor.value))


class Stream:
    """A stream that waits for no other and that no other waits for.

    Not the default stream, which CUDA graphs can't be captured on. Whoever hands data in or out has
    to ``synchronize``; any thread may.

    Raises:
        ProviderUnavailableError: There is no GPU.
    """

    def __init__(self) -> None:
        self._driver, device = _open_driver()
        self._context, stream = ctypes.c_void_p(), ctypes.c_void_p()
        _call(self._driver, "cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        _call(self._driver, "cuCtxSetCurrent", self._context)
        _call(self._driver, "cuStreamCreate", ctypes.byref(stream), _NON_BLOCKING)
        self.handle = int(stream.value or 0)

    def copy(self, target: int, source: int, num_bytes: int) -> None:
        """Begin to copy between two addresses, on the device or on the host.

        Raises:
            SessionError: The GPU fails.
        """
        self._run("cuMemcpyAsync", _address(target), _address(source), ctypes.c_size_t(num_bytes))

    def synchronize(self) -> None:
        """Wait for all that was begun. Raises SessionError where it failed."""
        self._run("cuStreamSynchronize")

    def used_memory(self) -> int:
        """Bytes of the device's memory in use, by whatever process. Raises SessionError."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        _call(self._driver, "cuCtxSetCurrent", self._context, error=SessionError)
        sizes = ctypes.byref(free), ctypes.byref(total)
        _call(self._driver, "cuMemGetInfo_v2", *sizes, error=SessionError)
        return total.value - free.value

    def _run(self, name: str, *arguments: Any) -> None:
        # Current for a thread, and this may be another one than last time.
        _call(self._driver, "cuCtxSetCurrent", self._context, error=SessionError)
        _call(self._driver, name, *arguments, ctypes.c_void_p(self.handle), error=SessionError)


@cache
def open_stream() -> Stream:
    """The one stream of this process: what runs on it runs one behind the other anyway."""
    return Stream()


def used_memory() -> int:
    """Bytes of the GPU's memory in use, by whatever process.

    Raises:
        ProviderUnavailableError: There is no GPU.
        SessionError: The GPU fails.
    """
    return open_stream().used_memory()


def _open_driver() -> tuple[Any, Any]:
    """The driver's library, and its first device."""
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError as err:
        raise ProviderUnavailableError(
            f"there is no NVIDIA driver here: {_LIBRARY} does not load. Engines run on a machine "
            "with an NVIDIA GPU only, and TensorRT builds them only there; anywhere builds: "
            "adcopilot-edge build BUNDLE --backend tensorrt-rtx --compute-capability 8.6"
        ) from err
    device = ctypes.c_int()
    _call(driver, "cuInit", 0)
    _call(driver, "cuDeviceGet", ctypes.byref(device), _ORDINAL)
    return driver, device


def _call(
    driver: Any, name: str, *arguments: Any, error: type[EdgeError] = ProviderUnavailableError
) -> None:
    """Call the driver. Raises ``error`` unless it answers with success."""
    if code := getattr(driver, name)(*arguments):
        word = ctypes.c_char_p()
        driver.cuGetErrorName(code, ctypes.byref(word))
        raise error(
            f"the NVIDIA driver answered {name} with {(word.value or b'').decode() or code}. See "
            "what this machine has: adcopilot-edge doctor"
        )


def _address(number: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(number)
