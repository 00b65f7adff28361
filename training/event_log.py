"""What happens in a run, told to whoever asks: a file of JSON lines, and a callback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adcopilot_edge.training.arguments import is_main_process

LOG_NAME = "log.jsonl"


class EventLog:
    """Takes events of a run; only the main process passes them on."""

    def __init__(self, run: Path, report: Callable[[dict[str, Any]], None]) -> None:
        self._path = run / LOG_NAME
        self._report = report

    def __call__(self, event: dict[str, Any]) -> None:
        """Append ``event`` to the file as a JSON line and pass it on."""
        if not is_main_process():
            return
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")
        self._report(event)
