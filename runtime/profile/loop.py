"""Trials one after the other, or by several callers at once, until a rule says stop.

Knows nothing of what a trial does. The rules are :mod:`adcopilot_edge.runtime.profile.statistics`'.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from adcopilot_edge.runtime.profile.settings import ProfileSettings
from adcopilot_edge.runtime.profile.statistics import Stability, is_steady, judge
from adcopilot_edge.runtime.profile.subject import Trial
from adcopilot_edge.types import OnStep

StopReason = Literal["stable", "duration", "max time", "steady temperature", "soak time"]
# (times in seconds, degrees Celsius) of the hottest place; both empty where nothing is measured.
Temperatures = tuple[Sequence[float], Sequence[float]]

_JUDGE_EVERY = 10  # trials between two looks: each look is one more chance to be stable by luck


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Trials in the order of their end, the time from first start to last end, why it ended."""

    trials: tuple[Trial, ...]
    wall_s: float
    stopped_by: StopReason
    stability: Stability

    @property
    def per_second(self) -> float:
        """Inspections a second, of all callers together."""
        return len(self.trials) / self.wall_s


class Stopper:
    """When there are enough trials.

    Args:
        settings: Which rule holds, and its limits.
        temperatures: What a soak waits for.
    """

    def __init__(self, settings: ProfileSettings, temperatures: Callable[[], Temperatures]) -> None:
        self._settings = settings
        self._temperatures = temperatures

    @property
    def limit_s(self) -> float:
        """The longest that a measurement may take, but for its last trial."""
        settings = self._settings
        return settings.soak_s or settings.duration_s or settings.max_time_s

    def decide(self, trials: Sequence[Trial], elapsed_s: float) -> StopReason | None:
        """Why to stop after these trials, or None."""
        settings = self._settings
        if settings.soak_s is not None:
            if len(trials) % _JUDGE_EVERY == 0 and is_steady(*self._temperatures()):
                return "steady temperature"
            return "soak time" if elapsed_s >= settings.soak_s else None
        if settings.duration_s is not None:
            return "duration" if elapsed_s >= settings.duration_s else None
        if len(trials) % _JUDGE_EVERY == 0 and judge(latencies(trials)).is_stable:
            return "stable"
        return "max time" if elapsed_s >= settings.max_time_s else None


def latencies(trials: Sequence[Trial]) -> list[float]:
    """The milliseconds of each trial."""
    return [trial.latency_ms for trial in trials]


def measure(
    run: Callable[[int], Trial],
    stopper: Stopper,
    *,
    concurrency: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    on_step: OnStep | None = None,
) -> Measurement:
    """Run trials until ``stopper`` says stop; at least one.

    Args:
        run: Does the trial of an index, on any thread.
        stopper: The rule.
        concurrency: Callers at once, each beginning its next trial when one is done.
        clock: Seconds.
        on_step: Gets the seconds done and the longest there may be.

    Raises:
        Exception: What the first trial to fail raised; no further one is begun.
    """
    callers = _Callers(run, stopper, clock, on_step)
    if concurrency == 1:
        callers.work()
    else:
        threads = [threading.Thread(target=callers.work, daemon=True) for _ in range(concurrency)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return callers.result()


class _Callers:
    """What the callers of one measurement share."""

    def __init__(
        self,
        run: Callable[[int], Trial],
        stopper: Stopper,
        clock: Callable[[], float],
        on_step: OnStep | None,
    ) -> None:
        self._run, self._stopper, self._clock, self._on_step = run, stopper, clock, on_step
        self._lock = threading.Lock()
        self._trials: list[Trial] = []
        self._num_begun = 0
        self._stopped_by: StopReason | None = None
        self._error: BaseException | None = None
        self._start_s = self._end_s = clock()

    def work(self) -> None:
        """Run trials until there are enough, or one failed."""
        while (index := self._next()) is not None:
            try:
                trial = self._run(index)
            except BaseException as err:
                with self._lock:
                    self._error = self._error or err
                return
            self._add(trial)

    def result(self) -> Measurement:
        """All trials, those included that ended after the decision."""
        if self._error is not None:
            raise self._error
        assert self._stopped_by is not None, "callers end after a decision or an error"
        return Measurement(
            trials=tuple(self._trials),
            wall_s=self._end_s - self._start_s,
            stopped_by=self._stopped_by,
            stability=judge(latencies(self._trials)),
        )

    def _next(self) -> int | None:
        with self._lock:
            if self._stopped_by is not None or self._error is not None:
                return None
            self._num_begun += 1
            return self._num_begun - 1

    def _add(self, trial: Trial) -> None:
        with self._lock:
            self._trials.append(trial)
            self._end_s = self._clock()
            elapsed_s = self._end_s - self._start_s
            if self._stopped_by is None:
                self._stopped_by = self._stopper.decide(self._trials, elapsed_s)
            if self._on_step is not None:
                limit_s = round(self._stopper.limit_s)
                self._on_step("measure", min(round(elapsed_s), limit_s), limit_s)
