"""What a profile found out, as records: one for each case, and the object for ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from adcopilot_edge.runtime.doctor import machine_facts, package_versions
from adcopilot_edge.runtime.profile.limits import Limits
from adcopilot_edge.runtime.profile.loop import Measurement, latencies
from adcopilot_edge.runtime.profile.sampler import Sample
from adcopilot_edge.runtime.profile.settings import ProfileSettings
from adcopilot_edge.runtime.profile.statistics import (
    MIN_COUNT,
    TOLERANCE,
    Summary,
    goodput,
    percentile,
    slices,
    summarize,
)
from adcopilot_edge.runtime.profile.subject import Opening
from adcopilot_edge.runtime.profile.thermal import Thermal
from adcopilot_edge.runtime.thread_store import ThreadsInUse

_NUM_SLICES = 10
RULE = (
    f"stable: at least {MIN_COUNT} inspections, and of the whole inspection both half the 95 % "
    f"interval of the median and the difference between the medians of the two halves within "
    f"{TOLERANCE:.0%} of the median"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """Which bundle was profiled: its id, and what the manifest says."""

    id: str
    target: str
    precision: str
    image_height: int
    image_width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTokens:
    """Tokens of one stage: read of the prompt, written as the answer, and the speed of writing."""

    read: int
    written: float = 0.0
    written_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseReport:
    """One case. asides_ms: what is no part of an inspection, by name. tokens: by stage."""

    settings: ProfileSettings
    bundle: BundleFacts
    opening: Opening
    warm_up_ms: tuple[float, ...]
    measurement: Measurement
    asides_ms: dict[str, tuple[float, ...]]
    tokens: dict[str, TaskTokens]
    samples: tuple[Sample, ...]
    thermal: Thermal
    peak_rss_bytes: int
    peak_device_bytes: int | None
    lowest_free_bytes: int | None
    limits: Limits | None = None
    notes: tuple[str, ...] = field(default=())
    threads: ThreadsInUse | None = None

    @property
    def latencies_ms(self) -> list[float]:
        """Of each inspection, in order."""
        return latencies(self.measurement.trials)

    def stages(self) -> dict[str, Summary]:
        """The parts of an inspection in their order, then ``until_verdict`` and ``inspection``."""
        trials = self.measurement.trials
        names = dict.fromkeys(name for trial in trials for name in trial.stages_ms)
        parts = {
            name: summarize([trial.stages_ms.get(name, 0.0) for trial in trials]) for name in names
        }
        return {
            **parts,
            "until_verdict": summarize([trial.verdict_ms for trial in trials]),
            "inspection": summarize(self.latencies_ms),
        }

    def words(self) -> str:
        """Provider, threads in use and callers, for people."""
        return self.settings.words(None if self.threads is None else self.threads.words())

    def asides(self) -> dict[str, Summary]:
        """What is no part of an inspection."""
        return {name: summarize(values) for name, values in self.asides_ms.items()}

    def goodput(self) -> float | None:
        """The share of parts inside the takt; None without one."""
        takt_ms = self.settings.takt_ms
        return None if takt_ms is None else goodput(self.latencies_ms, takt_ms)

    def over_time(self) -> list[dict[str, Any]]:
        """p50, p99 and goodput of equal spans of time, so that a drift shows."""
        trials = self.measurement.trials
        # With several callers trials end in another order than they begin.
        ordered = sorted(trials, key=lambda trial: trial.start_s)
        spans = slices([trial.start_s for trial in ordered], _NUM_SLICES)
        rows = []
        for start, stop in spans:
            values = latencies(ordered[start:stop])
            takt_ms = self.settings.takt_ms
            rows.append(
                {
                    "from_s": round(ordered[start].start_s - ordered[0].start_s, 3),
                    "count": len(values),
                    "p50": round(percentile(values, 50), 3),
                    "p99": round(percentile(values, 99), 3),
                    "goodput": None if takt_ms is None else round(goodput(values, takt_ms), 4),
                }
            )
        return rows

    def to_json(self) -> dict[str, Any]:
        """The case as an object."""
        settings, measured = self.settings, self.measurement
        share = self.goodput()
        return {
            "bundle": {
                "path": None if settings.bundle is None else str(settings.bundle),
                "id": self.bundle.id,
                "target": self.bundle.target,
                "precision": self.bundle.precision,
                "image_size": f"{self.bundle.image_height}x{self.bundle.image_width}",
            },
            "provider": settings.provider,
            "threads": settings.num_threads,
            "threads_in_use": None if self.threads is None else self.threads.words(),
            "concurrency": settings.concurrency,
            "task": settings.task,
            "ask": settings.ask,
            "tiles": measured.trials[0].num_tiles,
            "max_new_tokens": settings.max_new_tokens,
            "pictures": len(settings.tests),
            "opening_ms": self.opening.to_json(),
            "warm_up_ms": [round(ms, 3) for ms in self.warm_up_ms],
            "inspections": len(measured.trials),
            "wall_s": round(measured.wall_s, 3),
            "per_second": round(measured.per_second, 4),
            "stopped_by": measured.stopped_by,
            "stable": measured.stability.is_stable,
            "stability": _finite(
                interval=measured.stability.interval, drift=measured.stability.drift
            ),
            "takt_ms": settings.takt_ms,
            "goodput": None if share is None else round(share, 6),
            "stages_ms": {name: row.to_json() for name, row in self.stages().items()},
            "asides_ms": {name: row.to_json() for name, row in self.asides().items()},
            "tokens": {
                name: {
                    "read": row.read,
                    "written": round(row.written, 2),
                    "written_per_second": row.written_per_second
                    and round(row.written_per_second, 2),
                }
                for name, row in self.tokens.items()
            },
            "memory_bytes": {
                "peak_rss": self.peak_rss_bytes,
                "peak_device": self.peak_device_bytes,
                "lowest_free": self.lowest_free_bytes,
            },
            "over_time_ms": self.over_time(),
            "thermal": self.thermal.to_json(),
            "limits": None if self.limits is None else self.limits.to_json(),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReport:
    """All cases of one run, and the machine they ran on."""

    cases: tuple[CaseReport, ...]
    machine: dict[str, str]
    packages: dict[str, str]
    finished_at: str

    def to_json(self) -> dict[str, Any]:
        """The object that ``profile --json`` prints."""
        return {
            "finished_at": self.finished_at,
            "machine": self.machine,
            "packages": self.packages,
            "rule": RULE,
            "cases": [case.to_json() for case in self.cases],
        }


def _finite(**shares: float) -> dict[str, float | None]:
    """Shares as JSON has them: no infinity."""
    return {
        name: None if share == float("inf") else round(share, 5) for name, share in shares.items()
    }


def profile_report(cases: Sequence[CaseReport]) -> ProfileReport:
    """The report of some cases that ran on this machine."""
    return ProfileReport(
        cases=tuple(cases),
        machine=dict(machine_facts(Path("/"))),
        packages=package_versions(),
        finished_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
