"""Whether the packages of the workshop are there, before a command starts work that needs them."""

from __future__ import annotations

import importlib.util

from adcopilot_edge.errors import MissingExtraError

_EXPORT_PACKAGES = ("torch", "transformers", "onnx_ir", "onnxruntime")


def require_export(feature: str) -> None:
    """Raise MissingExtraError for ``feature`` unless the extra ``export`` is installed."""
    for package in _EXPORT_PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(feature=feature, extra="export", package=package)
