"""Tensors in a safetensors file: what the official reader sees, what is mapped, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from adcopilot_edge.runtime.tensor_file import (
    TensorFileError,
    describe_tensors,
    map_tensors,
    read_metadata,
    write_tensors,
)

METADATA = {"format": "tests", "record": '{"a": "ä"}'}


@pytest.fixture
def tensors(rng):
    return {
        "bytes": rng.integers(0, 256, (5, 7, 3), dtype=np.uint8),
        "half": rng.normal(0, 1, (3, 5)).astype(np.float16),
        "single": rng.normal(0, 1, (1, 4, 9, 16)).astype(np.float32),
        "ids": rng.integers(0, 1 << 40, (3, 11)),
        "nothing": np.zeros((0, 8), np.float32),
        "strided": rng.normal(0, 1, (4, 6)).astype(np.float32).T,
    }


@pytest.fixture
def path(tmp_path, tensors):
    path = tmp_path / "some.safetensors"
    write_tensors(path, tensors, METADATA)
    return path


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_official_reader_sees_the_same(path, tensors):
    assert_same(load_file(path), tensors)
    with safe_open(path, framework="np") as file:
        assert file.metadata() == METADATA


def test_a_file_of_the_official_writer_is_mapped(tmp_path, tensors):
    path = tmp_path / "official.safetensors"
    save_file(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()}, path, METADATA
    )
    metadata, found = map_tensors(path)
    assert metadata == METADATA
    assert_same(found, tensors)


def test_mapped_tensors_are_no_copies_and_can_not_be_written(path, tensors):
    metadata, found = map_tensors(path)
    assert metadata == read_metadata(path) == METADATA
    assert_same(found, tensors)
    for array in found.values():
        assert array.flags.aligned
        if array.size:
            assert not array.flags.owndata
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def test_a_mapped_file_may_be_replaced_and_removed(path, tensors):
    _, found = map_tensors(path)
    write_tensors(path, {"bytes": np.zeros(4, np.uint8)}, METADATA)
    assert_same(found, tensors)
    path.unlink()
    assert_same(found, tensors)


def test_checksums_tell_any_byte(tensors):
    before = describe_tensors(tensors)
    assert before == describe_tensors({name: array.copy() for name, array in tensors.items()})
    for name, array in tensors.items():
        if array.size:
            changed = array.copy()
            changed.reshape(-1).view(np.uint8)[-1] ^= 1
            after = describe_tensors({**tensors, name: changed})
            assert [key for key in before if before[key] != after[key]] == [name]


def test_a_file_cut_anywhere_is_refused(path):
    content = path.read_bytes()
    for length in {0, 3, 8, 40, len(content) // 2, len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(TensorFileError):
            map_tensors(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(TensorFileError, match=r"bytes, its header says"):
        map_tensors(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["half"].update(shape=[3, 6]),
        lambda header: header["half"].update(dtype="F32"),
        lambda header: header["half"].update(dtype="BF16"),
        lambda header: header["half"].pop("data_offsets"),
        lambda header: header["half"].update(data_offsets=[-8, 22]),
        lambda header: header["half"].update(shape=[-3, -5]),
        lambda header: header["half"].update(shape=["three", 5]),
        lambda header: header.pop("half"),
        lambda header: header.update(half=7),
        lambda header: header.pop("__metadata__"),
    ],
    ids=map(str, range(10)),
)
def test_a_header_that_does_not_fit_is_refused(path, change):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    with pytest.raises(TensorFileError):
        map_tensors(path)


@pytest.mark.parametrize(
    "content",
    [b"\x02" + bytes(7) + b"[]", b"\x02" + bytes(7) + b"{x", b"PNG"],
    ids=["list", "text", "short"],
)
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    for read in (map_tensors, read_metadata):
        with pytest.raises(TensorFileError):
            read(path)
