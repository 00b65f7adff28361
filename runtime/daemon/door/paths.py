"""Files that a client names by a path: only regular ones, and only below the allowed roots.

Each folder on the way is opened in the one before it, never through a link, and the file is read
from the descriptor that was checked. So nothing that is renamed or replaced meanwhile leads out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from adcopilot_edge.errors import (
    ForbiddenError,
    ImageNotFoundError,
    ImageTooLargeError,
    InputError,
)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe must not block, nor a terminal become ours, before it is seen that it is one.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LONGEST = 4096
_MOST_SHOWN = 200


def open_allowed(path: str, roots: Iterable[Path], *, max_bytes: int = 64 << 20) -> bytes:
    """The content of a file below one of the roots.

    A link that leads to a root itself is followed, for the station file says so; none below it is.

    Args:
        path: Absolute, or from the root where there is but one.
        roots: The folders that the station file allows.
        max_bytes: Refuse a larger file.

    Raises:
        ForbiddenError: The path leaves the roots, goes through a link, or is no regular file.
        ImageNotFoundError: There is no such file below its root.
        ImageTooLargeError: It has more than ``max_bytes``.
        InputError: It can't be read.
    """
    root, names = _place(path, [Path(os.path.normpath(root.absolute())) for root in roots])
    try:
        with _open_below(root, names, path) as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(min(size, max_bytes) + 1)
    except FileNotFoundError as err:
        raise ImageNotFoundError(f"there is no file {_shown(path)}") from err
    except ForbiddenError:
        raise
    except OSError as err:
        if err.errno == errno.ELOOP:
            raise _link(path) from err
        raise InputError(f"{_shown(path)} can't be read: {err.strerror}") from err
    if max(size, len(content)) > max_bytes:
        raise ImageTooLargeError(f"{_shown(path)} has more than {max_bytes:,} bytes")
    return content


def _place(path: str, roots: list[Path]) -> tuple[Path, tuple[str, ...]]:
    """The root of a path, and the names from there on."""
    if "://" in path:
        raise ForbiddenError("nothing is fetched from a URL: send the picture itself")
    if not roots:
        raise ForbiddenError(
            "no picture is taken by its path: no folder is allowed. Send the picture itself, "
            "or name folders as roots in the table http of the station file"
        )
    names = tuple(name for name in path.split("/") if name not in ("", "."))
    if not names or ".." in names or not _is_sound(path):
        raise ForbiddenError(f"{_shown(path)} is no path of a file below an allowed folder")
    if not path.startswith("/"):
        if len(roots) > 1:
            raise ForbiddenError("several folders are allowed: give the whole path of the file")
        return roots[0], names
    for root in sorted(roots, key=lambda root: -len(root.parts)):
        above = root.parts[1:]
        if names[: len(above)] == above and len(names) > len(above):
            return root, names[len(above) :]
    raise ForbiddenError(f"{_shown(path)} is not below an allowed folder")


def _open_below(root: Path, names: tuple[str, ...], path: str) -> BinaryIO:
    """The regular file at ``names`` below ``root``, opened. Raises ForbiddenError or OSError."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names[:-1]:
            _refuse_link(os.stat(name, dir_fd=folder, follow_symlinks=False), path)
            below = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        # To open a device may already do something, so it is looked at first.
        _refuse_all_but_files(os.stat(names[-1], dir_fd=folder, follow_symlinks=False), path)
        file = os.fdopen(os.open(names[-1], _FILE, dir_fd=folder), "rb")
    finally:
        os.close(folder)
    try:
        _refuse_all_but_files(os.fstat(file.fileno()), path)
    except ForbiddenError:
        file.close()
        raise
    return file


def _refuse_link(status: os.stat_result, path: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise _link(path)


def _refuse_all_but_files(status: os.stat_result, path: str) -> None:
    _refuse_link(status, path)
    if not stat.S_ISREG(status.st_mode):
        raise ForbiddenError(f"{_shown(path)} is no regular file")


def _link(path: str) -> ForbiddenError:
    return ForbiddenError(f"{_shown(path)} goes through a symbolic link, and none is followed")


def _is_sound(path: str) -> bool:
    try:
        return "\0" not in path and len(os.fsencode(path)) <= _LONGEST
    except UnicodeEncodeError:
        return False


def _shown(path: str) -> str:
    """The path for a message: short, and without what would break a line."""
    text = ascii(path)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
