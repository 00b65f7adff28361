"""Generated pairs as files: pictures, and the list that says what is where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from adcopilot_edge.training.synthetic import generate_pair


def write_pairs(folder: Path, first: int, count: int, *, size: int) -> Path:
    """Pairs of ``count`` seeds from ``first`` on in ``folder``, which is made and returned."""
    folder.mkdir()
    lines = []
    for seed in range(first, first + count):
        pair = generate_pair(seed, size=size).to_labelled()
        for name in ("golden", "test"):
            Image.fromarray(getattr(pair, name)).save(folder / f"{seed}-{name}.png")
        line: dict[str, Any] = {"golden": f"{seed}-golden.png", "test": f"{seed}-test.png"}
        if pair.boxes:
            line |= {"boxes": pair.boxes, "label": list(pair.labels)}
        lines.append(json.dumps(line))
    (folder / "pairs.jsonl").write_text("\n".join(lines))
    return folder
