"""Photographs of cookies, whole and cracked, as a list of pairs."""

from __future__ import annotations

import json
from pathlib import Path


def write_cookie_list(root: Path, out: Path) -> Path:
    """Write a list of pairs of the cookies in ``root`` to the file ``out``; returns ``out``.

    The golden image of all is ``normal-1.jpg``. The other whole cookies are good, the cracked ones
    bad, each with its mask. Paths are absolute, so that the list may lie anywhere.
    """
    root = root.resolve()
    golden = root / "training-images" / "normal-1.jpg"
    lines = []
    for picture in sorted((root / "training-images").glob("*.jpg")):
        if picture == golden:
            continue
        line = {"golden": str(golden), "test": str(picture), "category": "cookie"}
        if picture.stem.startswith("anomaly"):
            line["mask"] = str(root / "mask-images" / f"{picture.stem}.png")
        lines.append(json.dumps(line))
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out
