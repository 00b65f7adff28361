"""Which files of a folder count as complete."""

from __future__ import annotations

import os
import re
import sys

import pytest

from adcopilot_edge.runtime.daemon.inputs.complete_files import CompleteFiles, has_no_writer
from adcopilot_edge.runtime.daemon.inputs.file_names import is_draft, printable, read_name


@pytest.fixture
def files(tmp_path):
    return CompleteFiles(tmp_path, suffixes=(".png", ".jpg"), settle_s=1.0)


def _names(files, now):
    return [file.name for file in files.scan(now)]


def test_a_file_counts_once_it_has_stood_still(tmp_path, files):
    (tmp_path / "a.png").write_bytes(b"one")
    assert _names(files, 10.0) == []
    assert (files.growing, files.next_at) == (1, 11.0)
    assert _names(files, 10.9) == []
    assert _names(files, 11.0) == ["a.png"]
    assert _names(files, 12.0) == ["a.png"], "until it is taken"
    assert files.growing == 0


def test_a_file_that_grows_waits_anew(tmp_path, files):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    _names(files, 10.0)
    with path.open("ab") as file:
        file.write(b"two")
    assert _names(files, 11.0) == []
    assert _names(files, 12.0) == ["a.png"]


def test_a_change_of_the_same_size_counts_as_a_change(tmp_path, files):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    _names(files, 10.0)
    os.utime(path, ns=(0, 5))
    assert _names(files, 11.0) == []


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
def test_a_file_that_arrives_by_a_rename_counts_at_once(tmp_path, files):
    draft = tmp_path / ".a.tmp"
    draft.write_bytes(b"whole")
    os.utime(draft, ns=(0, 10**18))
    draft.rename(tmp_path / "a.png")
    assert _names(files, 10.0) == ["a.png"]
    assert _names(files, 10.1) == ["a.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
def test_a_renamed_file_that_is_still_open_to_write_waits(tmp_path, files):
    draft = tmp_path / ".a.tmp"
    with draft.open("wb", buffering=0) as file:
        file.write(b"half")
        os.utime(draft, ns=(0, 10**18))
        draft.rename(tmp_path / "a.png")
        assert not has_no_writer(tmp_path / "a.png")
        assert _names(files, 10.0) == []


def test_an_empty_file_never_counts_at_once(tmp_path, files):
    (tmp_path / "a.png").touch()
    os.utime(tmp_path / "a.png", ns=(0, 10**18))
    assert _names(files, 10.0) == []


def test_drafts_folders_links_and_other_suffixes_are_left_alone(tmp_path, files):
    for name in (".hidden.png", "a.png.tmp", "b.png.part", "c.png~", "notes.txt", "noend"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "notes.txt")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "UPPER.PNG").write_bytes(b"x")
    _names(files, 10.0)
    assert _names(files, 20.0) == ["UPPER.PNG"]
    assert files.ignored == 2


def test_order_by_name_or_by_time(tmp_path):
    for name, moment in (("a.png", 30), ("b.png", 10), ("c.png", 20)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (moment, moment))
    for order, names in (("name", "abc"), ("mtime", "bca")):
        files = CompleteFiles(tmp_path, suffixes=(".png",), settle_s=1.0, order=order)
        files.scan(0.0)
        assert _names(files, 5.0) == [f"{name}.png" for name in names]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        CompleteFiles(tmp_path / "no", suffixes=(".png",), settle_s=1.0).scan(0.0)


def test_a_name_tells_product_and_reference():
    pattern = re.compile(r"(?P<product>[a-z]+)_(?P<reference>\d+)\.png")
    parts = read_name("cap_17.png", pattern)
    assert (parts.product, parts.reference, parts.problem) == ("cap", "17", None)
    parts = read_name("17.png", pattern)
    assert (parts.product, parts.reference) == (None, "17.png")
    assert "17.png has no product by" in parts.problem
    assert read_name("x.png", None).reference == "x.png"


def test_a_name_that_is_no_text_becomes_one():
    name = os.fsdecode(b"a\xff\n\x1b[31m.png")
    assert printable(name) == "a\ufffd\ufffd\ufffd[31m.png"
    assert len(printable("x" * 300)) == 200
    assert [is_draft(name) for name in (".x", "x.PART", "x.png")] == [True, True, False]
