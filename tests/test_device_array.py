"""A tensor on a device as a numpy array, on the CPU, where both can be seen."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from adcopilot_edge.errors import SessionError
from adcopilot_edge.runtime.device_array import DeviceArray
from adcopilot_edge.runtime.tensors import OnDevice, TensorSpec


def numbers(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_it_reads_as_an_array() -> None:
    array = DeviceArray((2, 3), np.float32, "cpu")
    assert np.array_equal(array, np.zeros((2, 3)))
    array.write(numbers(2, 3))
    assert np.asarray(array).dtype == np.float32
    assert np.asarray(array, dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.concatenate([array, array])[2:], numbers(2, 3))
    with pytest.raises(ValueError, match="without a copy"):
        np.array(array, copy=False)


def test_what_was_read_stays_when_it_is_overwritten() -> None:
    array = DeviceArray((3,), np.float32, "cpu")
    array.write(numbers(3))
    read = np.asarray(array)
    array.write(np.full(3, 9, np.float32))
    np.testing.assert_array_equal(read, numbers(3))


def test_an_array_in_another_order_is_written_as_it_reads() -> None:
    array = DeviceArray((3, 2), np.float32, "cpu")
    array.write(numbers(2, 3).T)
    np.testing.assert_array_equal(array, numbers(2, 3).T)


def test_it_fits_a_graph_as_an_array_does() -> None:
    array = DeviceArray((2, 3), np.float16, "cpu")
    assert isinstance(array, OnDevice)
    assert not isinstance(np.zeros(1), OnDevice)
    assert TensorSpec("x", np.dtype(np.float16), (2, None)).fits(array)  # type: ignore[arg-type]
    assert not TensorSpec("x", np.dtype(np.float16), (2, 4)).fits(array)  # type: ignore[arg-type]


def test_rows_of_both_sides_are_joined_in_place() -> None:
    array, other = (DeviceArray((length, 4), np.float32, "cpu") for length in (6, 2))
    other.write(numbers(2, 4) + 100)
    address = array.address
    parts = [numbers(1, 4), other, numbers(4, 4)[::2], np.zeros((0, 4), np.float32)]
    assert array.join(parts) == 5  # type: ignore[arg-type]
    assert array.address == address
    expected = np.concatenate([np.asarray(part) for part in parts])
    np.testing.assert_array_equal(np.asarray(array)[:5], expected)
    view = array.view((1, 5, 4))
    assert (view.address, view.shape, view.ndim, array.shape) == (address, (1, 5, 4), 3, (6, 4))
    np.testing.assert_array_equal(view, expected[np.newaxis])


@pytest.mark.parametrize(
    "parts",
    [
        [np.zeros((4, 4), np.float32)],
        [np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32)],
        [np.zeros((1, 3), np.float32)],
        [np.zeros((1, 4), np.float64)],
    ],
)
def test_rows_that_do_not_fit_are_not_copied(parts: list[np.ndarray]) -> None:
    array = DeviceArray((3, 4), np.float32, "cpu")
    with pytest.raises(AssertionError):
        array.join(parts)


def test_on_another_device_the_stream_copies_and_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[object, ...]] = []

    class Stream:
        def copy(self, target: int, source: int, num_bytes: int) -> None:
            calls.append((target, source, num_bytes))

        def synchronize(self) -> None:
            calls.append(("wait",))

    monkeypatch.setattr("adcopilot_edge.runtime.device_array.open_stream", Stream)
    array, other = (DeviceArray((length, 4), np.float32, "cpu") for length in (6, 2))
    array.device = "cuda"
    rows = numbers(1, 4)
    array.join([rows, other])  # type: ignore[list-item]
    assert calls == [
        (array.address, rows.ctypes.data, 16),
        (array.address + 16, other.address, 32),
        ("wait",),
    ]


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there may be one"
)
def test_no_device() -> None:
    with pytest.raises(SessionError, match=r"gives no 4 MiB on the device 'cuda': .*doctor"):
        DeviceArray((1 << 20,), np.float32)
