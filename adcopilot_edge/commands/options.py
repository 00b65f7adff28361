"""Options that several commands share: one wording, one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on stdout, also on failure.")
]
Provider = Annotated[
    str,
    typer.Option(help="cpu, cuda, tensorrt or tensorrt-rtx. Never falls back to another one."),
]
Threads = Annotated[
    int | None,
    typer.Option(help="Threads of one operator; onnxruntime chooses by default.", min=1),
]
Packs = Annotated[
    Path | None,
    typer.Option(help="Folder of golden packs; by default goldens/ in the bundle's folder."),
]
