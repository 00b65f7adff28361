"""The documents name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "folder",
    [
        "adcopilot_edge",
        "runtime",
        "runtime/engines",
        "runtime/profile",
        "runtime/daemon",
        "runtime/daemon/door",
        "runtime/daemon/outputs",
        "runtime/daemon/inputs",
        "runtime/daemon/web",
        "runtime/daemon/page",
        "export",
        "calibration",
        "training",
        "training/chat_ad",
        "training/chat_ad/teacher",
    ],
)
def test_architecture_has_a_line_for_each_file(repository: Path, folder: str) -> None:
    document = (repository / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = document.split(f"\n`{folder}/`:")[1].split("\n`")[0]
    cells = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    named = {name.rstrip("/") for cell in cells for name in re.findall(r"`(.+?)`", cell)}
    present = {
        entry.name
        for entry in (repository / folder).iterdir()
        if not entry.is_symlink() and not entry.name.startswith(("_", "py.typed"))
    }
    assert named == present
