"""The bytes of a picture's file: whole, of a bounded size, and from an allowed folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from adcopilot_edge.errors import ImageTooLargeError, InputError
from adcopilot_edge.runtime.daemon.inputs.claims import Claim


class FileChangesError(Exception):
    """The file is not as it was when it was found complete."""


def read_picture(claim: Claim, max_bytes: int) -> bytes:
    """The content of a claimed file.

    Raises:
        FileChangesError: Somebody writes to it still; the claim has its new state.
        InputError: It is larger than ``max_bytes``, or no regular file any more.
        OSError: It can't be read, or has gone.
    """
    with os.fdopen(_open(claim.path), "rb") as file:
        image = file.read(max_bytes + 1)
        status = os.fstat(file.fileno())
    if (status.st_size, status.st_mtime_ns) != (claim.size, claim.mtime_ns):
        claim.size, claim.mtime_ns = status.st_size, status.st_mtime_ns
        raise FileChangesError
    _check_size(claim.name, len(image), max_bytes)
    return image


def _open(path: Path) -> int:
    """Open a regular file, never a link or a pipe that would make the reader wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path.name!r} is no regular file")
    return descriptor


def _check_size(name: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ImageTooLargeError(f"{name!r} is larger than {max_bytes >> 20} MB")
