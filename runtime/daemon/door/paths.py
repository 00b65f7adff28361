"""Files that a client names by their path: only regular ones below a folder that allows it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from adcopilot_edge.errors import ConfigError, InputError

_MOST_BYTES = 256 << 20


def open_allowed(path: str, roots: Iterable[Path]) -> bytes:
    """The bytes of a file that lies below one of ``roots`` when every link is followed.

    Raises:
        ConfigError: The path is relative, or leads to no place below a root.
        InputError: There is no regular file, or it can't be read, or has more than 256 MB.
    """
    named = Path(path)
    if "\0" in path or not named.is_absolute():
        raise ConfigError(f"path must be absolute, got {path!r}")
    real = Path(os.path.realpath(named))
    allowed = [Path(os.path.realpath(root)) for root in roots]
    if not any(real.is_relative_to(root) for root in allowed):
        raise ConfigError(f"{path} lies below no folder of roots in the table http")
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
                raise InputError(f"{path} is no regular file of at most 256 MB")
            return file.read(_MOST_BYTES + 1)
    except OSError as err:
        raise InputError(f"{path} can't be read: {err.strerror}") from err
