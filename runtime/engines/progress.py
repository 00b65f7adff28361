"""How a build shows what it does, and how Ctrl-C ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from adcopilot_edge.runtime.engines.api import Api
from adcopilot_edge.types import OnStep


@contextmanager
def watch_build(api: Api, graph: str, on_step: OnStep) -> Iterator[Any]:
    """A progress monitor for the build in the block, which ends early on Ctrl-C.

    An exception in a monitor or a logger does not reach Python's side again: the bindings swallow
    it. So Ctrl-C only sets a flag there, and is raised behind the block.
    """
    stop = threading.Event()
    is_main = threading.current_thread() is threading.main_thread()
    old = signal.signal(signal.SIGINT, lambda *_: stop.set()) if is_main else None
    monitor = _monitor(api, graph, on_step, stop)  # TensorRT holds no reference of its own
    try:
        yield monitor
    finally:
        if is_main:
            signal.signal(signal.SIGINT, old)
    if stop.is_set():
        raise KeyboardInterrupt


def _monitor(api: Api, graph: str, on_step: OnStep, stop: threading.Event) -> Any:
    """A monitor that reports the builder's outermost phases and stops it when it is told to."""

    class Monitor(api.trt.IProgressMonitor):  # type: ignore[misc, name-defined]  # not typed
        def __init__(self) -> None:
            super().__init__()
            self.steps: dict[str, int] = {}

        def phase_start(self, name: str, parent: str | None, num_steps: int) -> None:
            if parent is None:
                self.steps[name] = num_steps
                on_step(graph, 0, num_steps)

        def step_complete(self, name: str, step: int) -> bool:
            if name in self.steps:
                on_step(graph, step + 1, self.steps[name])
            return not stop.is_set()

        def phase_finish(self, name: str) -> None:
            if name in self.steps:
                on_step(graph, self.steps[name], self.steps[name])

    return Monitor()
