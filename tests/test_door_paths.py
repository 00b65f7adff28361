"""Paths that a client names: what lies below an allowed folder, and every way out of it."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from adcopilot_edge.errors import (
    ForbiddenError,
    ImageNotFoundError,
    ImageTooLargeError,
    InputError,
)
from adcopilot_edge.runtime.daemon.door.paths import open_allowed

SECRET = b"not for clients"
PART = b"a picture"


@pytest.fixture
def root(tmp_path):
    """A folder with a picture in it and in a folder of its own, and a secret beside it."""
    root = tmp_path / "parts"
    (root / "day 1").mkdir(parents=True)
    (root / "a.png").write_bytes(PART)
    (root / "day 1" / "b..png").write_bytes(PART)
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "parts-old").mkdir()
    (tmp_path / "parts-old" / "a.png").write_bytes(SECRET)
    return root


def read(root, path, max_bytes=1000):
    return open_allowed(str(path), [root], max_bytes=max_bytes)


def outcome(root, path, max_bytes=1000):
    """The content, or the kind of the refusal."""
    try:
        return read(root, path, max_bytes)
    except (ForbiddenError, InputError) as err:
        return type(err)


@pytest.mark.parametrize("name", ["a.png", "day 1/b..png", "./a.png", "day 1//b..png", "a.png/"])
def test_a_file_below_the_root_is_read(root, name):
    assert read(root, name) == PART
    assert read(root, f"{root}/{name}") == PART
    assert read(root, f"/{root}/./{name}") == PART


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "day 1/../../secret",
        "day 1/../a.png",
        "..",
        ".",
        "",
        "/",
        "//",
        "/etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
        "{root}",
        "{root}/",
        "{root}/../secret",
        "{root}-old/a.png",
        "{root}/../parts-old/a.png",
        "/../{root}/a.png",
        "a.png\0.jpg",
        "\0",
        "\ud800",
        "x" * 5000,
        "x/" * 3000,
    ],
)
def test_what_leads_elsewhere_is_refused(root, path):
    with pytest.raises(ForbiddenError) as caught:
        read(root, path.replace("{root}", str(root)))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("path", ["..\\secret", "%2e%2e/secret", "~/secret", "$HOME/x", "a.png;ls"])
def test_nothing_in_a_name_is_expanded(root, path):
    with pytest.raises(ImageNotFoundError):
        read(root, path)


@pytest.mark.parametrize("url", ["http://10.0.0.1/a.png", "file:///etc/passwd", "HTTPS://x/y"])
def test_nothing_is_fetched(root, url):
    with pytest.raises(ForbiddenError, match="URL"):
        read(root, url)


def test_a_link_is_not_followed(root, tmp_path):
    (root / "out").symlink_to(tmp_path)
    (root / "file.png").symlink_to(tmp_path / "secret")
    (root / "inside.png").symlink_to(root / "a.png")
    (root / "nowhere.png").symlink_to(root / "none")
    (root / "loop").symlink_to(root / "loop")
    for name in ("out/secret", "file.png", "inside.png", "nowhere.png", "loop", "loop/a.png"):
        with pytest.raises(ForbiddenError, match="link"):
            read(root, name)


def test_a_root_may_be_a_link(root, tmp_path):
    (tmp_path / "current").symlink_to(root)
    assert read(tmp_path / "current", tmp_path / "current" / "a.png") == PART


def test_only_regular_files_are_read(root):
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        for name in ("pipe", "socket", "day 1"):
            with pytest.raises(ForbiddenError, match="no regular file"):
                read(root, name)


def test_a_device_is_not_even_opened(monkeypatch):
    opened = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **more: (opened.append(path), real(path, *rest, **more))[1]
    )
    with pytest.raises(ForbiddenError, match="no regular file"):
        read(Path("/dev"), "/dev/zero")
    assert "zero" not in opened


def test_a_file_as_a_folder_is_refused(root):
    with pytest.raises(InputError):
        read(root, "a.png/b.png")


def test_a_large_file_is_refused_and_an_absent_one_told(root):
    assert read(root, "a.png", max_bytes=len(PART)) == PART
    with pytest.raises(ImageTooLargeError):
        read(root, "a.png", max_bytes=len(PART) - 1)
    with pytest.raises(ImageNotFoundError):
        read(root, "none.png")
    with pytest.raises(ImageNotFoundError):
        read(root, "none/a.png")


def test_a_file_that_may_not_be_read_is_told(root, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        read(root, "a.png")


def test_without_roots_no_path_is_read(root):
    with pytest.raises(ForbiddenError, match="roots"):
        open_allowed(str(root / "a.png"), [])


def test_of_several_roots_the_whole_path_says_which(root, tmp_path):
    roots = (tmp_path / "parts-old", root, root / "day 1")
    assert open_allowed(str(root / "a.png"), roots) == PART
    assert open_allowed(str(root / "day 1" / "b..png"), roots) == PART
    with pytest.raises(ForbiddenError, match="whole path"):
        open_allowed("a.png", roots)


def test_a_folder_replaced_by_a_link_in_between_leads_nowhere(root, tmp_path, monkeypatch):
    """The folder is swapped after it was looked at, before it is opened."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b..png").write_bytes(SECRET)
    real = os.stat

    def swap(name, **more):
        status = real(name, **more)
        if name == "day 1":
            (root / "day 1").rename(tmp_path / "moved")
            (root / "day 1").symlink_to(tmp_path / "elsewhere")
        return status

    monkeypatch.setattr(os, "stat", swap)
    with pytest.raises((ForbiddenError, InputError)):
        read(root, "day 1/b..png")


def test_a_file_replaced_in_between_is_seen(root, tmp_path, monkeypatch):
    real = os.stat

    def swap_for(make):
        def swap(name, **more):
            status = real(name, **more)
            if name == "a.png" and (root / "a.png").is_file():
                (root / "a.png").unlink()
                make(root / "a.png")
            return status

        return swap

    for make in (os.mkfifo, lambda path: path.symlink_to(tmp_path / "secret")):
        (root / "a.png").unlink(missing_ok=True)
        (root / "a.png").write_bytes(PART)
        monkeypatch.setattr(os, "stat", swap_for(make))
        with pytest.raises(ForbiddenError):
            read(root, "a.png")
        monkeypatch.undo()


def test_swaps_at_any_moment_never_show_what_lies_outside(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b..png").write_bytes(SECRET)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    over = threading.Event()
    here, aside, link = root / "day 1", tmp_path / "aside", tmp_path / "link"

    def swap():
        while not over.is_set():
            here.rename(aside)
            link.rename(here)
            here.rename(link)
            aside.rename(here)

    swapping = threading.Thread(target=swap)
    swapping.start()
    seen = set()
    try:
        for _ in range(3000):
            seen.add(outcome(root, "day 1/b..png"))
    finally:
        over.set()
        swapping.join()
    assert SECRET not in seen


def test_no_descriptor_stays_open(root, tmp_path):
    (root / "file.png").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("a.png", "file.png", "pipe", "none", "day 1/none", "day 1/b..png", "a.png/x"):
        for _ in range(20):
            outcome(root, name, max_bytes=3)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
