"""The GPU at hand: its name and compute capability, from the driver itself.

The driver's library alone, so that a device needs no further package.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from adcopilot_edge.errors import ProviderUnavailableError

_LIBRARY = "libcuda.so.1"
# CUdevice_attribute of the driver's API.
_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU; capability: (major, minor)."""

    name: str
    capability: tuple[int, int]


def find_gpu(ordinal: int = 0) -> Gpu:
    """The GPU ``ordinal``. Raises ProviderUnavailableError where there is none."""
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError as err:
        raise ProviderUnavailableError(
            f"there is no NVIDIA driver here ({_LIBRARY} is missing). An engine runs, and "
            "TensorRT builds, on a machine with an NVIDIA GPU only; `build --backend tensorrt-rtx` "
            "builds anywhere."
        ) from err
    device = ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    major, minor = ctypes.c_int(), ctypes.c_int()
    for call, arguments in (
        ("cuInit", (0,)),
        ("cuDeviceGet", (ctypes.byref(device), ordinal)),
        ("cuDeviceGetName", (name, _NAME_BYTES, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(major), _MAJOR, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(minor), _MINOR, device)),
    ):
        if code := getattr(driver, call)(*arguments):
            raise ProviderUnavailableError(
                f"the NVIDIA driver finds no GPU {ordinal}: {call} gave error {code}. "
                "See what it says: adcopilot-edge doctor"
            )
    return Gpu(name.value.decode(errors="replace"), (major.value, minor.value))
