"""Reads the TOML files in ``phrases/``. Knows nothing of what is in them."""

from __future__ import annotations

import sys
from functools import cache
from importlib import resources
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@cache
def read_phrases(name: str) -> dict[str, Any]:
    """The tables of ``phrases/<name>.toml``, read once."""
    folder = resources.files("adcopilot_edge") / "training" / "chat_ad" / "phrases"
    return tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
