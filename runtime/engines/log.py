"""What TensorRT says: its errors kept for our messages, printed nowhere.

A process has one TensorRT logger, whatever is passed later; so there is one for each package.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from adcopilot_edge.errors import ProviderUnavailableError
from adcopilot_edge.runtime.engines.api import Api


def open_log(api: Api) -> Any:
    """The logger of ``api``, emptied; ``said()`` gives the errors since then in one line."""
    log = _logger(api)
    log.errors.clear()
    return log


def start(api: Api, name: str, log: Any) -> Any:
    """A new ``Builder`` or ``Runtime`` of the package. Raises ProviderUnavailableError."""
    try:
        return getattr(api.trt, name)(log)
    except (RuntimeError, TypeError) as err:  # how the bindings tell of a null pointer
        raise ProviderUnavailableError(
            f"{api.backend} {api.version} does not start here: {log.said()}. See what this machine "
            "has: adcopilot-edge doctor"
        ) from err


@cache
def _logger(api: Api) -> Any:
    trt = api.trt
    kept = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]  # not typed
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in kept:
                self.errors.append(" ".join(message.split()).rstrip("."))

        def said(self) -> str:
            return "; ".join(dict.fromkeys(self.errors)) or "it gives no reason"

    return Log()
