"""Options that several commands share: one wording, one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def parse_threads(text: str) -> int | Path:
    """The number of threads, or the file, that ``--threads`` names."""
    try:
        number = int(text)
    except ValueError:
        return Path(text)
    if number < 1:
        raise typer.BadParameter(f"at least 1 thread, got {text}")
    return number


Json = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on stdout, also on failure.")
]
Provider = Annotated[
    str,
    typer.Option(help="cpu, cuda, tensorrt or tensorrt-rtx. Never falls back to another one."),
]
Threads = Annotated[
    Any,  # int, Path or None: typer takes no union
    typer.Option(
        parser=parse_threads,
        metavar="N|FILE",
        help="Threads of one operator, or a file of doctor --tune --out. By default what doctor "
        "--tune stored beside the bundle for this machine, else onnxruntime chooses.",
    ),
]
Packs = Annotated[
    Path | None,
    typer.Option(help="Folder of golden packs; by default goldens/ in the bundle's folder."),
]
