"""The log of a daemon on stderr: lines for people, or objects of JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from adcopilot_edge.runtime.daemon.part import iso_time


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, thread, and error with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        content: dict[str, Any] = {
            "time": iso_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "thread": record.threadName,
        }
        if record.exc_info:
            content["error"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False)


def start_log(*, is_json: bool, level: int = logging.INFO) -> None:
    """Have all that is logged written to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines() if is_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=level, handlers=[handler])
