"""Where the time of an inspection goes: milliseconds a stage. Knows nothing of the stages' work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Stage = Literal[
    "golden", "decode_image", "health", "preprocess", "vision", "comparison", "prefill", "decode"
]


class StageClock:
    """Sums up wall time by stage, from its creation on."""

    def __init__(self) -> None:
        self._start_ns = time.perf_counter_ns()
        self._stages_ns: dict[Stage, int] = {}
        self._ahead_ns = 0

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Add the time that the block takes to ``stage``; blocks of one stage add up."""
        start_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            spent_ns = time.perf_counter_ns() - start_ns
            self._stages_ns[stage] = self._stages_ns.get(stage, 0) + spent_ns

    def count_from(self, start_ns: int) -> None:
        """Let ``total`` begin at ``start_ns``; of the stages so far, what lies before was ahead.

        Args:
            start_ns: Of ``time.perf_counter_ns``, since when nothing was done but the end of them.
        """
        waited_ns = time.perf_counter_ns() - start_ns
        self._ahead_ns = max(0, sum(self._stages_ns.values()) - waited_ns)
        self._start_ns = start_ns

    def timings_ms(self) -> dict[str, float]:
        """The stages that ran, in the order of their first start, ``ahead`` and ``total``.

        ``ahead`` is the part of the stages that is not in ``total``; left out if there is none.
        """
        timings: dict[str, float] = {stage: ns / 1e6 for stage, ns in self._stages_ns.items()}
        if self._ahead_ns:
            timings["ahead"] = self._ahead_ns / 1e6
        timings["total"] = (time.perf_counter_ns() - self._start_ns) / 1e6
        return timings
