"""The NVIDIA driver through ctypes, with a driver that is none."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import pytest

from adcopilot_edge.errors import ProviderUnavailableError, SessionError
from adcopilot_edge.runtime import cuda
from adcopilot_edge.runtime.cuda import Gpu, Stream, find_gpu, open_stream, used_memory

CONTEXT, STREAM = 0x7F00_0000_1000, 0x7F00_0000_2000  # beyond 32 bits, as real ones are
NAMES = {3: b"CUDA_ERROR_NOT_INITIALIZED", 100: b"CUDA_ERROR_NO_DEVICE", 700: b"CUDA_ERROR_ILLEGAL"}


class Driver:
    """One Orin, and what was called; ``codes`` are the answers other than success."""

    def __init__(self, codes: dict[str, int]) -> None:
        self.codes = codes
        self.calls: list[tuple[str, ...]] = []

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        name.value = b"Orin"
        return self._answer("cuDeviceGetName")

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        value._obj.value = {75: 8, 76: 7}[attribute]
        return self._answer("cuDeviceGetAttribute")

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:  # noqa: N802
        context._obj.value = CONTEXT
        return self._answer("cuDevicePrimaryCtxRetain")

    def cuStreamCreate(self, stream: Any, flags: int) -> int:  # noqa: N802
        stream._obj.value = STREAM
        return self._answer("cuStreamCreate", flags)

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:  # noqa: N802
        free._obj.value, total._obj.value = 3 << 30, 8 << 30
        return self._answer("cuMemGetInfo_v2")

    def cuGetErrorName(self, code: int, word: Any) -> int:  # noqa: N802
        word._obj.value = NAMES.get(code)
        return 0

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self._answer(name, *arguments)

    def _answer(self, name: str, *arguments: Any) -> int:
        values = [getattr(it, "value", getattr(it, "_obj", it)) for it in arguments]
        self.calls.append((name, *map(str, values)))
        return self.codes.get(name, 0)


@pytest.fixture
def open_driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def install(**codes: int) -> Driver:
        driver = Driver(codes)
        monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
        return driver

    open_stream.cache_clear()
    yield install
    open_stream.cache_clear()


def test_the_gpu_at_hand(open_driver) -> None:
    open_driver()
    assert find_gpu() == Gpu("Orin", (8, 7))


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_LIBRARY", "libcuda-that-nobody-has.so.1")
    with pytest.raises(ProviderUnavailableError, match="there is no NVIDIA driver here"):
        find_gpu()


@pytest.mark.parametrize(("code", "reason"), [(100, "CUDA_ERROR_NO_DEVICE"), (12345, "12345")])
def test_a_driver_without_a_gpu(open_driver, code: int, reason: str) -> None:
    open_driver(cuInit=code)
    with pytest.raises(ProviderUnavailableError, match=f"answered cuInit with {reason}"):
        find_gpu()


def test_a_stream_of_the_primary_context(open_driver) -> None:
    driver = open_driver()
    stream = Stream()
    assert stream.handle == STREAM
    # Not blocking: it neither waits for the default stream nor makes that wait.
    assert driver.calls[-1] == ("cuStreamCreate", "1")
    driver.calls.clear()
    stream.copy(0x7F00_0000_3000, 0x7F00_0000_4000, 1 << 33)
    stream.synchronize()
    assert driver.calls == [
        ("cuCtxSetCurrent", str(CONTEXT)),
        ("cuMemcpyAsync", str(0x7F00_0000_3000), str(0x7F00_0000_4000), str(1 << 33), str(STREAM)),
        ("cuCtxSetCurrent", str(CONTEXT)),
        ("cuStreamSynchronize", str(STREAM)),
    ]


def test_used_memory_is_what_is_not_free(open_driver) -> None:
    driver = open_driver()
    assert used_memory() == 5 << 30
    assert [call[0] for call in driver.calls][-2:] == ["cuCtxSetCurrent", "cuMemGetInfo_v2"]


def test_used_memory_of_a_gpu_that_fails(open_driver) -> None:
    open_driver(cuMemGetInfo_v2=700)
    with pytest.raises(SessionError, match="CUDA_ERROR_ILLEGAL"):
        used_memory()


def test_a_process_has_one_stream(open_driver) -> None:
    open_driver()
    assert open_stream() is open_stream()


def test_what_fails_on_the_gpu_shows_when_it_is_waited_for(open_driver) -> None:
    open_driver(cuStreamSynchronize=700)
    with pytest.raises(SessionError, match="answered cuStreamSynchronize with CUDA_ERROR_ILLEGAL"):
        Stream().synchronize()


def test_the_addresses_are_given_in_full_width(open_driver) -> None:
    driver = open_driver()
    seen: list[Any] = []

    def keep(*arguments: Any) -> int:
        seen.extend(arguments)
        return 0

    driver.cuMemcpyAsync = keep
    Stream().copy(1, 2, 3)
    # ctypes cuts a bare integer to 32 bits.
    assert [type(it) for it in seen] == [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
    ]
