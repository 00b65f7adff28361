"""The least time that each stage can take on this machine, and the share of it that is reached.

A stage has to read its weights once a run, and to do its products. The slower of both, at the
measured rates, is the least time; that over the time it takes is the share, 1 at best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.manifest import GraphName
from adcopilot_edge.runtime.engines.api import BACKENDS
from adcopilot_edge.runtime.profile.rates import Rates, measure_rates, read_rate
from adcopilot_edge.runtime.profile.settings import ProfileSettings
from adcopilot_edge.runtime.profile.trace import Operations, Work, count_work
from adcopilot_edge.types import TASKS

_VISION_GRAPHS: dict[str, GraphName] = {"vision": "vision", "comparison": "comparison"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLimit:
    """One stage: what it must read and compute, the least milliseconds, the share reached.

    bandwidth: bytes a second at which a buffer of this graph's size is read.
    """

    weight_bytes: int
    num_runs: int
    operations: Operations
    bandwidth: float
    least_ms: float
    bound: Literal["memory", "compute"]
    reached: float

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "weight_bytes": self.weight_bytes,
            "runs": self.num_runs,
            "float_ops": self.operations.floating,
            "integer_ops": self.operations.integer,
            "bandwidth_gb_s": round(self.bandwidth / 1e9, 2),
            "least_ms": round(self.least_ms, 4),
            "bound": self.bound,
            "reached": round(self.reached, 4),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The machine's rates, and the stages held against them."""

    rates: Rates
    stages: dict[str, StageLimit]

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "rates": self.rates.to_json(),
            "stages": {name: stage.to_json() for name, stage in self.stages.items()},
        }


def find_limits(
    bundle: Bundle, settings: ProfileSettings, medians_ms: dict[str, float], *, num_looks: int = 1
) -> Limits:
    """Measure the machine and hold the stages against it.

    Args:
        bundle: The bundle that was profiled.
        settings: How.
        medians_ms: What each stage takes.
        num_looks: How often a part is shown, of tiles once each. How many of these are asked
            questions depends on the part, so in tiles answers have no limit.

    Raises:
        EdgeError: A graph fails.
    """
    provider = "cuda" if settings.provider in BACKENDS else settings.provider
    words = bundle.manifest.prompt.tasks
    questions: dict[str, str] = {name: words[name] for name in TASKS if name != "verdict"}
    if settings.ask is not None:
        questions["ask"] = settings.ask.strip()
    work = count_work(
        bundle,
        settings.golden,
        settings.tests[0],
        provider=settings.provider,
        num_threads=settings.num_threads,
        questions={
            name: text
            for name, text in questions.items()
            if name in medians_ms and not settings.tile
        },
        max_new_tokens=settings.max_new_tokens,
    )
    rates = measure_rates(provider, settings.num_threads)
    bandwidths: dict[GraphName, float] = {}
    stages = {}
    for name, stage_work in work.items():
        if not medians_ms.get(name):
            continue
        graph = _VISION_GRAPHS.get(name, "decoder")
        size = weight_bytes(bundle, graph)
        if graph not in bandwidths:
            bandwidths[graph] = read_rate(size, provider, settings.num_threads)
        done = stage_work.times(num_looks)
        stages[name] = hold_against(done, rates, size, bandwidths[graph], medians_ms[name])
    return Limits(rates=rates, stages=stages)


def hold_against(
    work: Work, rates: Rates, size_bytes: int, bandwidth: float, median_ms: float
) -> StageLimit:
    """The least time of some work, and the share of it that ``median_ms`` reaches.

    Where the rate of integers was not measured, or is the lower one, that of floats counts.
    """
    integer_rate = max(rates.integer_ops or 0.0, rates.float_ops)
    reading_ms = size_bytes * work.num_runs / bandwidth * 1000
    computing_ms = (
        work.operations.floating / rates.float_ops + work.operations.integer / integer_rate
    ) * 1000
    least_ms = max(reading_ms, computing_ms)
    return StageLimit(
        weight_bytes=size_bytes,
        num_runs=work.num_runs,
        operations=work.operations,
        bandwidth=bandwidth,
        least_ms=least_ms,
        bound="memory" if reading_ms >= computing_ms else "compute",
        reached=least_ms / median_ms,
    )


def weight_bytes(bundle: Bundle, graph: GraphName) -> int:
    """Bytes of a graph's weights: its data file, or the graph itself where it has none."""
    name, files = bundle.manifest.graphs[graph].file, bundle.manifest.files
    data = files.get(f"{name}.data")
    return files[name].size_bytes if data is None else data.size_bytes
