"""Tensors in a safetensors file: written as a stream, read by memory map, each with a checksum.

Knows nothing of what the tensors mean. A mapped tensor takes no memory of its own; its file may be
replaced or removed while it is in use, but not written to in place.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.tensors import AnyArray

_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_METADATA = "__metadata__"
_PREFIX_BYTES = 8  # the length of the header, little endian
_ALIGNMENT = 64
_MAX_HEADER_BYTES = 100 << 20  # safetensors' own limit
_MAX_THREADS = 8


class TensorFileError(ValueError):
    """A file is not the tensors it should be; the message is the reason alone."""


class TensorEntry(Record):
    """One tensor: dtype as safetensors calls it, shape, and the CRC-32 of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    crc32: int


def describe_tensors(tensors: Mapping[str, AnyArray]) -> dict[str, TensorEntry]:
    """Dtype, shape and checksum of each tensor; the checksums are computed by several threads."""
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        checksums = list(pool.map(_checksum, tensors.values()))
    return {
        name: TensorEntry(dtype=_NAMES[array.dtype], shape=array.shape, crc32=checksum)
        for (name, array), checksum in zip(tensors.items(), checksums, strict=True)
    }


def write_tensors(path: Path, tensors: Mapping[str, AnyArray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all.

    Args:
        path: The file.
        tensors: By name, of float32, float16, int64 or uint8.
        metadata: What its header says beside the tensors.

    Raises:
        OSError: It can't be written.
    """
    # Wide types first, so that each tensor begins at a multiple of its own width.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    end = 0
    for name in order:
        start, end = end, end + tensors[name].nbytes
        header[name] = {
            "dtype": _NAMES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + _PREFIX_BYTES) % _ALIGNMENT)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(_PREFIX_BYTES, "little") + text)
        for name in order:
            file.write(_bytes_of(tensors[name]).data)


def read_metadata(path: Path) -> dict[str, str]:
    """What the header of a file says beside its tensors, which are not looked at.

    Raises:
        TensorFileError: The header is damaged.
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        return _metadata(_read_header(file, path.stat().st_size)[0])


def map_tensors(path: Path) -> tuple[dict[str, str], dict[str, AnyArray]]:
    """Map a file into memory: its metadata, and its tensors as read-only arrays without a copy.

    Raises:
        TensorFileError: The header is damaged, or the file is longer or shorter than it says.
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header, start = _read_header(file, size)
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    metadata = _metadata(header)
    try:
        places = list(_places(header))
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as err:
        raise TensorFileError(f"its header is damaged: {err!r}") from err
    tensors = {}
    end = 0
    for place in places:
        num_bytes = math.prod(place.shape) * place.dtype.itemsize
        if place.begin != end or place.end - end != num_bytes or min(place.shape, default=0) < 0:
            raise TensorFileError(f"the tensor {place.name} does not fit its place")
        end = place.end
        if start + end > size:
            raise TensorFileError(f"it ends within the tensor {place.name}")
        tensors[place.name] = _view(memory, start + place.begin, place)
    if start + end != size:
        raise TensorFileError(f"it has {size} bytes, its header says {start + end}")
    return metadata, tensors


class _Place(NamedTuple):
    """Where a tensor lies behind the header."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def _places(header: dict[str, Any]) -> Iterator[_Place]:
    """The place of each tensor, in the order of the file."""
    entries = {name: entry for name, entry in header.items() if name != _METADATA}
    for name in sorted(entries, key=lambda name: tuple(entries[name]["data_offsets"])):
        entry = entries[name]
        begin, end = map(int, entry["data_offsets"])
        yield _Place(name, _DTYPES[entry["dtype"]], tuple(map(int, entry["shape"])), begin, end)


def _view(memory: mmap.mmap, offset: int, place: _Place) -> AnyArray:
    """The tensor at ``offset`` of a mapped file, which can't be written."""
    if place.begin == place.end:
        return np.empty(place.shape, place.dtype)
    flat = np.frombuffer(memory, place.dtype, math.prod(place.shape), offset)
    return flat.reshape(place.shape)


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header of a file of ``size`` bytes, and where the tensors begin."""
    length = int.from_bytes(file.read(_PREFIX_BYTES), "little")
    if size < _PREFIX_BYTES + length or length > _MAX_HEADER_BYTES:
        raise TensorFileError("it ends within its header, or is no safetensors file")
    try:
        header = json.loads(file.read(length))
    except ValueError as err:
        raise TensorFileError(f"its header is damaged: {err}") from err
    if not isinstance(header, dict):
        raise TensorFileError("its header is no JSON object")
    return header, _PREFIX_BYTES + length


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    metadata = header.get(_METADATA)
    if not isinstance(metadata, dict):
        raise TensorFileError("its header has no metadata")
    return metadata


def _checksum(array: AnyArray) -> int:
    return zlib.crc32(_bytes_of(array).data)


def _bytes_of(array: AnyArray) -> AnyArray:
    """The bytes of an array in C order, without a copy where it has that order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
