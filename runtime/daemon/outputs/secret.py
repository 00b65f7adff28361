"""Secrets that a station file points to and never holds."""

from __future__ import annotations

import os
from pathlib import Path

from adcopilot_edge.errors import ConfigError

_MAX_BYTES = 4096


def read_secret(file: Path | None, variable: str | None) -> bytes | None:
    """What the file or the environment variable holds, without the end of its line.

    None where neither is named. Raises ConfigError that says which is missing or empty, never what
    is in it.
    """
    if file is not None:
        try:
            with file.open("rb") as opened:
                found = opened.read(_MAX_BYTES + 1).rstrip(b"\r\n")
        except OSError as err:
            raise ConfigError(f"the secret {file} can't be read: {err.strerror}") from err
        if not found or len(found) > _MAX_BYTES:
            raise ConfigError(f"the secret {file} must have 1 to {_MAX_BYTES} bytes")
        return found
    if variable is not None:
        found = os.environ.get(variable, "").encode()
        if not found:
            raise ConfigError(f"the environment variable {variable} is not set, or empty")
        return found
    return None
