"""The processor's name, from the operating system's files."""

from __future__ import annotations

import platform
import re
from pathlib import Path


def cpu_model(root: Path = Path("/")) -> str:
    """The processor's name; an ARM kernel may give none, then the architecture."""
    found = re.search(r"^model name\s*:\s*(.+)$", read_text(root / "proc/cpuinfo"), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def read_text(path: Path) -> str:
    """The text of a system file, empty where there is none."""
    if not path.is_file():
        return ""
    return path.read_text(encoding="utf-8", errors="replace")
