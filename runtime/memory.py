"""How much memory is free, and sizes as people write them."""

from __future__ import annotations

import re
from pathlib import Path

from adcopilot_edge.errors import ConfigError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)(?:i?B)?", re.IGNORECASE | re.ASCII)


def free_bytes() -> int | None:
    """Memory that programs may still take, in bytes; on a Jetson the GPU shares it.

    None where the system does not say.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None


def parse_bytes(text: str) -> int:
    """Bytes of ``4G``, ``512M`` or ``4.5GiB``; units are powers of 1024. Raises ConfigError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"a size of memory is written 4G, 512M or 4.5GiB, got {text!r}")
    return int(float(match[1]) * _UNITS[match[2].upper()])
