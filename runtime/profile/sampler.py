"""Reads sensors and memory beside a measurement, at fixed intervals, on a thread of its own."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.errors import EdgeError
from adcopilot_edge.runtime.cuda import used_memory
from adcopilot_edge.runtime.memory import free_bytes
from adcopilot_edge.runtime.profile.loop import Temperatures
from adcopilot_edge.runtime.profile.reading import Reading
from adcopilot_edge.runtime.profile.sensors import Sensors
from adcopilot_edge.runtime.profile.tegrastats import Tegrastats

INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look: time_s as ``time.perf_counter`` counts, the sensors, memory in bytes.

    device_bytes: used of the GPU's own memory, by whatever process; None without an NVIDIA driver.
    free_bytes: of the machine's; on a Jetson the GPU shares it.
    """

    time_s: float
    reading: Reading
    free_bytes: int | None
    device_bytes: int | None


class Sampler:
    """Samples from ``with`` to its end.

    Args:
        root: Where the system's files are.
        with_device: Whether the GPU's memory is asked for.
        interval_s: Seconds between two looks.
        on_sample: Called after each, on the sampler's thread.
    """

    def __init__(
        self,
        *,
        root: Path = Path("/"),
        with_device: bool = False,
        interval_s: float = INTERVAL_S,
        on_sample: Callable[[Sample], None] | None = None,
    ) -> None:
        self.samples: list[Sample] = []
        self._sensors = Sensors(root)
        self._with_device = with_device
        self._interval_s = interval_s
        self._on_sample = on_sample
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._tegrastats = Tegrastats(self._interval_s)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._tegrastats.close()
        self._look()  # the state at the end, and two samples at least for the counters

    def temperatures(self) -> Temperatures:
        """Times and degrees of the hottest place, as far as any place was measured."""
        hottest = [
            (sample.time_s, max(sample.reading.temperatures_c.values()))
            for sample in tuple(self.samples)
            if sample.reading.temperatures_c
        ]
        return [time_s for time_s, _ in hottest], [degrees for _, degrees in hottest]

    def _run(self) -> None:
        while True:
            self._look()
            if self._done.wait(self._interval_s):
                return

    def _look(self) -> None:
        sample = Sample(
            time_s=time.perf_counter(),
            reading=self._sensors.read().or_else(self._tegrastats.latest),
            free_bytes=free_bytes(),
            device_bytes=_device_bytes() if self._with_device else None,
        )
        self.samples.append(sample)
        if self._on_sample is not None:
            self._on_sample(sample)


def peak_rss_bytes() -> int:
    """The most memory that this process ever had resident."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _device_bytes() -> int | None:
    try:
        return used_memory()
    except EdgeError:
        return None
