"""What the benchmarks of ``evaluate`` share: what was asked for, and the files of a run."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How to run: the bundle, how much of the data, where the files go, how results are printed."""

    bundle: Path | None
    out: Path | None
    count: int | None
    seed: int
    with_words: bool
    as_json: bool
    provider: str
    threads: int | Path | None
    max_new_tokens: int

    def folder(self, source: str, model: str) -> Path:
        """Where the answers and the report go."""
        return self.out or Path("runs") / f"{source}-{model}"

    def draw(self, total: int) -> list[int]:
        """The places of as many of ``total`` as asked for, drawn by the seed, in order."""
        if self.count is None or self.count >= total:
            return list(range(total))
        return sorted(random.Random(self.seed).sample(range(total), self.count))


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write ``report.json``, for people and programs."""
    write_text(folder / "report.json", json.dumps(report, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    from adcopilot_edge.atomic import atomic_write
    from adcopilot_edge.errors import ConfigError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(text.encode())
    except OSError as err:
        raise ConfigError(f"can't write {path}: {err}. Choose another folder with --out") from err


def count_are(count: int, noun: str) -> str:
    """``1 file is``, ``2 files are``."""
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"
