"""A profile from settings to report: open, warm up, measure, and hold against the machine."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from adcopilot_edge.errors import EdgeError
from adcopilot_edge.runtime.profile.limits import Limits, find_limits
from adcopilot_edge.runtime.profile.loop import Measurement, Stopper, measure
from adcopilot_edge.runtime.profile.report import BundleFacts, CaseReport, TaskTokens
from adcopilot_edge.runtime.profile.sampler import Sample, Sampler, peak_rss_bytes
from adcopilot_edge.runtime.profile.settings import ProfileSettings
from adcopilot_edge.runtime.profile.statistics import is_steady, percentile, summarize
from adcopilot_edge.runtime.profile.subject import Subject, Trial, timed
from adcopilot_edge.runtime.profile.tegrastats import power_mode
from adcopilot_edge.runtime.profile.thermal import Thermal, sum_up
from adcopilot_edge.types import OnStep

_ASIDE_TRIALS = 5
_ASIDE_SHARE = 0.1  # of the longest measurement, for each aside
_WAIT_SHARE = 0.02  # of the time; less is any system's own work
_P99_COUNT = 100  # with fewer, p99 is the maximum


def run_case(
    settings: ProfileSettings, *, root: Path = Path("/"), on_step: OnStep | None = None
) -> CaseReport:
    """Profile one bundle.

    Args:
        settings: What, and how long.
        root: Where the system's files are.
        on_step: Gets the steps.

    Raises:
        EdgeError: The bundle or a picture can't be used, or a graph fails.
    """
    load = _load_note()
    _tell(on_step, "open")
    subject = Subject(settings)
    _tell(on_step, "warm up")
    warm_up = [subject.inspect(index).latency_ms for index in range(settings.warm_up)]
    sampler = Sampler(root=root, with_device=settings.provider != "cpu")
    stopper = Stopper(settings, sampler.temperatures)
    with sampler:
        waited_s = _waited_s(root)
        measurement = measure(
            subject.inspect, stopper, concurrency=settings.concurrency, on_step=on_step
        )
        waited_s = _waited_s(root) - waited_s
    samples = tuple(sampler.samples)
    _tell(on_step, "golden, picture")
    asides = _time_asides(subject.asides(), stopper.limit_s * _ASIDE_SHARE)
    peak_rss = peak_rss_bytes()
    bundle, opening, threads = subject.bundle, subject.opening, subject.threads
    tokens = _count_tokens(subject, measurement.trials)
    del subject, stopper
    gc.collect()  # the limits open the bundle again, and there may be memory for one only
    notes = [*load, *threads.notes, *_notes(settings, measurement)]
    if (waited := waited_s / measurement.wall_s) > _WAIT_SHARE:
        notes.append(f"for {waited:.0%} of the time other programs had the cores")
    limits: Limits | None = None
    in_use = replace(settings, threads=threads.settings)
    looks = [trial.num_looks for trial in measurement.trials]
    if settings.with_limits:
        _tell(on_step, "limits")
        try:
            limits = find_limits(bundle, in_use, _medians(measurement.trials), num_looks=min(looks))
            notes += _look_notes(looks)
            notes += _limit_notes(limits)
        except EdgeError as err:
            notes.append(f"the machine's limits could not be measured: {err}")
    thermal = _thermal(sampler, samples)
    notes += [f"clocks were held back: {what}" for what in thermal.throttled]
    model = bundle.manifest.model
    return CaseReport(
        settings=settings,
        bundle=BundleFacts(
            id=bundle.id,
            target=bundle.manifest.target,
            precision=bundle.manifest.precision,
            image_height=model.image_height,
            image_width=model.image_width,
        ),
        opening=opening,
        warm_up_ms=tuple(warm_up),
        measurement=measurement,
        asides_ms=asides,
        tokens=tokens,
        samples=samples,
        thermal=thermal,
        peak_rss_bytes=peak_rss,
        peak_device_bytes=max(
            (it.device_bytes for it in samples if it.device_bytes is not None), default=None
        ),
        lowest_free_bytes=min(
            (it.free_bytes for it in samples if it.free_bytes is not None), default=None
        ),
        limits=limits,
        notes=tuple(notes),
        threads=threads,
    )


def _time_asides(
    asides: dict[str, Callable[[], object]], limit_s: float
) -> dict[str, tuple[float, ...]]:
    """Milliseconds of each, a few times after one that does not count, within ``limit_s``."""
    times_ms = {}
    for name, work in asides.items():
        work()
        end_s = time.perf_counter() + limit_s
        values: list[float] = []
        while not values or (len(values) < _ASIDE_TRIALS and time.perf_counter() < end_s):
            values.append(timed(work)[0])
        times_ms[name] = tuple(values)
    return times_ms


def _count_tokens(subject: Subject, trials: Sequence[Trial]) -> dict[str, TaskTokens]:
    """Tokens by stage; written ones on average over the trials."""
    num_goldens = trials[0].num_tiles or 1
    tokens = {"golden": TaskTokens(read=num_goldens * subject.num_golden_tokens)}
    for name in dict.fromkeys(name for trial in trials for name in trial.read_tokens):
        # In tiles it depends on the part how often a question is asked.
        read = max(trial.read_tokens.get(name, 0) for trial in trials)
        written = [trial.written_tokens.get(name, 0) for trial in trials]
        # The first token of an answer comes with the question: each further one is a step.
        steps = sum(written) - sum(trial.num_answers.get(name, 0) for trial in trials)
        decode_s = sum(trial.decode_ms.get(name, 0.0) for trial in trials) / 1000
        tokens[name] = TaskTokens(
            read=read,
            written=sum(written) / len(written),
            written_per_second=steps / decode_s if steps and decode_s else None,
        )
    return tokens


def _medians(trials: Sequence[Trial]) -> dict[str, float]:
    names = dict.fromkeys(name for trial in trials for name in trial.stages_ms)
    return {
        name: percentile([trial.stages_ms.get(name, 0.0) for trial in trials], 50) for name in names
    }


def _thermal(sampler: Sampler, samples: Sequence[Sample]) -> Thermal:
    times_s, temperatures_c = sampler.temperatures()
    steady = is_steady(times_s, temperatures_c) if times_s else None
    return sum_up(samples, is_steady=steady, power_mode=power_mode())


def _load_note() -> list[str]:
    """Whether others use the machine, as the load of the last minute tells."""
    if not hasattr(os, "getloadavg"):
        return []
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < cores / 2:
        return []
    return [f"the machine was not idle before: load {load:.1f} on {cores} cores"]


def _waited_s(root: Path) -> float:
    """Seconds that the main thread was ready to run and other programs had the cores."""
    try:
        words = (root / "proc/self/schedstat").read_text(encoding="ascii").split()
        return int(words[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _look_notes(looks: Sequence[int]) -> list[str]:
    """That the limits are those of the fewest looks, where parts took several numbers of them."""
    fewest, most = min(looks), max(looks)
    if fewest == most:
        return []
    return [f"a part took {fewest} to {most} looks at tiles: the least times are those of {fewest}"]


def _limit_notes(limits: Limits) -> list[str]:
    """That the limits are none, where a stage is faster than they say is possible."""
    faster = [name for name, stage in limits.stages.items() if stage.reached > 1]
    if not faster:
        return []
    return [
        f"NOT the machine's limits: {', '.join(faster)} took less than the least time, so other "
        "programs had the machine while its rates were measured; measure again"
    ]


def _notes(settings: ProfileSettings, measurement: Measurement) -> list[str]:
    """What a reader of the figures must know."""
    notes, count = [], len(measurement.trials)
    summary = summarize([trial.latency_ms for trial in measurement.trials])
    if not measurement.stability.is_stable:
        notes.append(
            "the figures are NOT stable: measure longer (--max-time, --duration), or on a machine "
            "that does nothing else"
        )
    if count < _P99_COUNT:
        notes.append(f"p99 of {count} inspections is the largest, {summary.max:.1f} ms")
    if measurement.stopped_by == "soak time":
        notes.append("the soak ended before the temperature was steady, or there is none to read")
    if settings.concurrency > 1:
        notes.append(f"{settings.concurrency} callers share one inspector and wait for their turn")
    return notes


def _tell(on_step: OnStep | None, step: str) -> None:
    if on_step is not None:
        on_step(step, 0, 1)
