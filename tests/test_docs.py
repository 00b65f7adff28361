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


def test_the_documents_name_every_alarm(repository: Path) -> None:
    told = (repository / "docs" / "http.md").read_text(encoding="utf-8")
    set_by_name = re.compile(r"alarms\.set\(\s*\"([\w-]+)\"")
    constants = re.compile(r"^_?ALARM = \"([\w-]+)\"", re.MULTILINE)
    sources = sorted((repository / "runtime" / "daemon").rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in sources]
    names = {
        name for text in texts for rule in (set_by_name, constants) for name in rule.findall(text)
    }
    assert {"journal", "clock", "shadow", "reload"} <= names
    assert [name for name in sorted(names) if f"| `{name}` |" not in told] == []
