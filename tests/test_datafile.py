"""The data file of a graph: alignment, and going on behind the last whole block."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from adcopilot_edge.export.datafile import DataFile

pytestmark = pytest.mark.torch


def write(path: Path, *, stop_at: int | None = None, resumes: bool = True) -> list[int]:
    """Three blocks of two tensors each; returns the tensors that had to be computed."""
    computed: list[int] = []

    def tensor(index: int) -> list[np.ndarray]:
        if index == stop_at:
            raise KeyboardInterrupt
        computed.append(index)
        return [np.full(10 + index, index, np.uint8), np.full(3, index, np.uint8)]

    with DataFile(path, resumes=resumes) as data:
        for index in range(6):
            data.append(f"tensor {index}", 13 + index, partial(tensor, index))
            if index % 2:
                data.mark()
    return computed


def test_every_tensor_starts_at_a_cache_line(tmp_path: Path) -> None:
    with DataFile(tmp_path / "data", resumes=True) as data:
        offsets = [data.append("one", 5, lambda: [np.ones(5, np.uint8)]) for _ in range(3)]
    assert offsets == [0, 64, 128]
    assert (tmp_path / "data").stat().st_size == 133


@pytest.mark.parametrize(("stop_at", "left"), [(1, 6), (2, 4), (3, 4), (5, 2)])
def test_a_killed_write_goes_on_at_its_last_whole_block(
    tmp_path: Path, stop_at: int, left: int
) -> None:
    write(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "killed", stop_at=stop_at)
    assert len(write(tmp_path / "killed")) == left
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_mark_without_its_data_counts_for_nothing(tmp_path: Path) -> None:
    write(tmp_path / "data")
    whole = (tmp_path / "data").read_bytes()
    (tmp_path / "data").write_bytes(whole[:70])
    assert len(write(tmp_path / "data")) == 6
    (tmp_path / ".data.mark").write_text("{", encoding="utf-8")
    assert len(write(tmp_path / "data")) == 6
    assert (tmp_path / "data").read_bytes() == whole


def test_another_run_computes_everything(tmp_path: Path) -> None:
    write(tmp_path / "data")
    assert len(write(tmp_path / "data", resumes=False)) == 6


def test_a_wrong_length_is_a_bug_that_shows(tmp_path: Path) -> None:
    with (
        DataFile(tmp_path / "data", resumes=True) as data,
        pytest.raises(AssertionError, match="4 expected"),
    ):
        data.append("short", 4, lambda: [np.ones(3, np.uint8)])
