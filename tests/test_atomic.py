"""Atomic writing: the new content whole, or the old content untouched."""

from __future__ import annotations

import os
import stat

import pytest

from adcopilot_edge.atomic import atomic_write


def test_the_new_content_replaces_the_old(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_bytes(b"old and longer")
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old and longer"
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]


def test_a_string_path_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_write("weights.bin") as file:
        file.write(b"\0" * 4096)
    assert (tmp_path / "weights.bin").stat().st_size == 4096


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [b"old", None])
def test_an_exception_leaves_nothing_behind(tmp_path, error, old):
    path = tmp_path / "manifest.json"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error), atomic_write(path) as file:  # noqa: PT012
        file.write(b"half of the n")
        file.flush()
        raise error
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_failing_rename_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    with pytest.raises(OSError, match="bundle"), atomic_write(folder) as file:
        file.write(b"a folder can't be replaced by a file")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "absent" / "file.bin"):
        pytest.fail("the block must not run")


def test_the_file_has_the_permissions_of_any_new_file(tmp_path):
    before = os.umask(0o022)
    try:
        with atomic_write(tmp_path / "shared.bin") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "shared.bin").stat().st_mode) == 0o644
