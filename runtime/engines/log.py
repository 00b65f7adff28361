"""What TensorRT says: kept for our messages, printed nowhere.

A process has one TensorRT logger, whatever is passed later; so there is one for each package.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from adcopilot_edge.runtime.engines.api import Api


def open_log(api: Api) -> Any:
    """The logger of ``api``, emptied; ``said()`` gives the errors since then in one line."""
    log = _logger(api)
    log.errors.clear()
    return log


@cache
def _logger(api: Api) -> Any:
    trt = api.trt

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]  # not typed
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

        def said(self) -> str:
            return "; ".join(self.errors) or "it gives no reason"

    return Log()
