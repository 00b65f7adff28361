"""onnxruntime itself: the one place that imports it, and where its errors become ours.

Knows nothing of graphs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from adcopilot_edge.errors import MissingExtraError, SessionError

# What to do about each exception class of onnxruntime. They share no base class, so each is named;
# a test fails when a release brings one that is not here.
ADVICE = {
    "DeviceReset": "The device was reset; open the bundle again.",
    "EPFail": "The execution provider failed; see that its driver and libraries fit together.",
    "EngineError": "The engine failed; export the bundle again on this release.",
    "Fail": "See the reason above; `adcopilot-edge doctor` shows what this machine has.",
    "InvalidArgument": "The graph does not fit its manifest; export the bundle again.",
    "InvalidGraph": "This onnxruntime can't use the graph; install the release that exported it.",
    "InvalidProtobuf": "The file is no ONNX graph; copy the bundle again.",
    "ModelLoadCanceled": "Loading was cancelled; open the bundle again.",
    "ModelLoaded": "The graph was loaded twice; open the bundle again.",
    "ModelRequiresCompilation": "The provider needs a compiled graph; build the bundle for it.",
    "NoModel": "The file holds no graph; copy the bundle again.",
    "NoSuchFile": "A file of the bundle is missing; copy the bundle again.",
    "NotFound": "Something the graph refers to is missing; copy the bundle again.",
    "NotImplemented": "This onnxruntime lacks an operator of the graph; install a newer one.",
    "RuntimeException": "The run failed, perhaps for lack of memory; see the reason above.",
}

_ERROR_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


def load_onnxruntime() -> ModuleType:
    """Return the onnxruntime module. Raises MissingExtraError where it is not installed."""
    try:
        import onnxruntime
    except ImportError as err:
        raise MissingExtraError(
            feature="running a bundle", extra="cpu", package="onnxruntime"
        ) from err
    module: ModuleType = onnxruntime
    return module


def error_classes() -> tuple[type[Exception], ...]:
    """Return the exception classes of the installed onnxruntime that are turned into ours."""
    load_onnxruntime()
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    # A release has some of the names only. A run with bound buffers raises a bare RuntimeError.
    named = [getattr(native, name) for name in ADVICE if hasattr(native, name)]
    return (*named, RuntimeError)


@contextmanager
def translated_errors(what: str) -> Iterator[None]:
    """Turn what onnxruntime raises into SessionError: what failed, why, and what to do."""
    try:
        yield
    except error_classes() as err:
        reason = _ERROR_PREFIX.sub("", str(err)).strip(" .\n")
        advice = ADVICE.get(type(err).__name__, ADVICE["RuntimeException"])
        raise SessionError(f"{what}: {reason}. {advice}") from err
