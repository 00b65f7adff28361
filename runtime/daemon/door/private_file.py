"""A file that only its owner may read, replaced in whole."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from adcopilot_edge.errors import ConfigError


def write_private(path: Path, text: str) -> None:
    """Write ``text`` so that it never lies there readable by others, nor in part.

    Raises ConfigError when it can't be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as err:
        draft.unlink(missing_ok=True)
        raise ConfigError(f"{path} can't be written: {err.strerror}") from err
