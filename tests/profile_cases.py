"""Reports of profiles that nobody ran: every field filled, every figure known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adcopilot_edge.runtime.profile.limits import Limits, StageLimit
from adcopilot_edge.runtime.profile.loop import Measurement, StopReason
from adcopilot_edge.runtime.profile.rates import Rates
from adcopilot_edge.runtime.profile.reading import Reading
from adcopilot_edge.runtime.profile.report import (
    BundleFacts,
    CaseReport,
    ProfileReport,
    TaskTokens,
)
from adcopilot_edge.runtime.profile.sampler import Sample
from adcopilot_edge.runtime.profile.settings import ProfileSettings
from adcopilot_edge.runtime.profile.statistics import judge
from adcopilot_edge.runtime.profile.subject import Opening, Trial
from adcopilot_edge.runtime.profile.thermal import sum_up
from adcopilot_edge.runtime.profile.trace import Operations


def trial(start_s: float, latency_ms: float) -> Trial:
    """A trial with a fixed vision side; the rest of the time goes to one answer."""
    fixed = {"vision": 10.0, "comparison": 5.0, "prefill": 8.0, "verdict": 2.0}
    rest = latency_ms - sum(fixed.values()) - 1
    return Trial(
        start_s=start_s,
        latency_ms=latency_ms,
        stages_ms={"decode_image": 0.5, **fixed, "locate": rest, "other": 0.5},
        decode_ms={"locate": rest / 2},
        read_tokens={"prefill": 90, "verdict": 31, "locate": 24},
        written_tokens={"locate": 11},
    )


def settings(**changes: Any) -> ProfileSettings:
    """The settings of these cases."""
    values: dict[str, Any] = {"golden": Path("g.png"), "tests": (Path("t.png"),), **changes}
    return ProfileSettings(**values)


def case(
    latencies_ms: list[float], *, stopped_by: StopReason = "stable", **changes: Any
) -> CaseReport:
    """A case whose inspections took that long, one after the other, with a Jetson's sensors."""
    trials, start_s = [], 100.0
    for latency_ms in latencies_ms:
        trials.append(trial(start_s, latency_ms))
        start_s += latency_ms / 1000
    samples = tuple(
        Sample(
            time_s=100.0 + second,
            reading=Reading(
                temperatures_c={"tj": 50.0 + second, "gpu": 48.0 + second},
                power_mw={"VDD_IN": 10_000.0 + 100 * second},
                clocks_mhz={"gpu": 1300.0, "cpu": 2201.0},
                throttle_events={"oc3": second},
            ),
            free_bytes=4 << 30,
            device_bytes=1 << 30,
        )
        for second in range(5)
    )
    return CaseReport(
        settings=settings(**changes),
        bundle=BundleFacts(
            id="0123456789abcdef",
            target="cpu",
            precision="vision-int8+decoder-int4",
            image_height=224,
            image_width=280,
        ),
        opening=Opening(hash_ms=10, load_ms=50, golden_ms=60, first_ms=200),
        warm_up_ms=(120.0, 110.0),
        measurement=Measurement(
            trials=tuple(trials),
            wall_s=start_s - 100.0,
            stopped_by=stopped_by,
            stability=judge(latencies_ms),
        ),
        asides_ms={"golden_uncached": (60.0, 62.0), "golden_cached": (1.0,), "overlay": (9.0,)},
        tokens={
            "golden": TaskTokens(read=110),
            "locate": TaskTokens(read=24, written=11, written_per_second=200),
        },
        samples=samples,
        thermal=sum_up(samples, is_steady=False, power_mode="MODE_30W"),
        peak_rss_bytes=150 << 20,
        peak_device_bytes=1 << 30,
        lowest_free_bytes=4 << 30,
        limits=Limits(
            rates=Rates(
                provider="cpu", threads=2, memory=30e9, float_ops=160e9, integer_ops=1700e9
            ),
            stages={
                "vision": StageLimit(
                    weight_bytes=2_000_000,
                    num_runs=1,
                    operations=Operations(100, 1000),
                    bandwidth=60e9,
                    least_ms=1.0,
                    bound="compute",
                    reached=0.1,
                )
            },
        ),
        notes=("p99 of few inspections is the largest",),
    )


def report(*cases: CaseReport) -> ProfileReport:
    """These cases as one report."""
    return ProfileReport(
        cases=cases,
        machine={"cpu": "A processor <of> words & signs", "cores": "2", "python": "3.11"},
        packages={"adcopilot-edge": "0.1.0"},
        finished_at="2026-01-01T00:00:00+00:00",
    )
