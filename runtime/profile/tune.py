"""Which thread settings are the fastest for a bundle here: each held against onnxruntime's own.

Candidates and the default take turns, part by part; only two are open at a time. Knows nothing of
files, and of inspections only what a trial tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.cores import allowed_cores, core_groups
from adcopilot_edge.runtime.profile.statistics import median, median_interval
from adcopilot_edge.runtime.profile.subject import Trial
from adcopilot_edge.runtime.threads import ThreadSettings
from adcopilot_edge.types import OnStep

# Does the trial of an index.
Run = Callable[[int], Trial]
MIN_GAIN = 0.02  # of a verdict's time; for less nobody should change a setting
_WARM_UP = 2
_MAX_ROUNDS = 60
# Threads that spin go on for a moment behind a run, in the way of whoever has the next turn.
_PAUSE_S = 0.01
DEFAULT = ThreadSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One setting beside the default, over paired rounds.

    figures_ms, default_ms: medians of both, by name, first ``verdict``. ratio: median over the
    rounds of the verdict's time by the default's, below 1 faster. interval: the 95 % interval of
    that, None with too few rounds for one.
    """

    settings: ThreadSettings
    figures_ms: dict[str, float]
    default_ms: dict[str, float]
    ratio: float
    interval: tuple[float, float] | None
    num_rounds: int

    def beats(self, control: Comparison) -> bool:
        """Whether it is faster by more than the scatter, and by enough to matter.

        Args:
            control: The default beside itself: what of a ratio below 1 is scatter.
        """
        if self.interval is None or control.interval is None:
            return False
        return self.interval[1] < min(1, control.interval[0]) and self.ratio <= 1 - MIN_GAIN

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "num_threads": self.settings.num_threads,
            "spins": self.settings.spins,
            "cores": list(self.settings.cores),
            "ms": {name: round(ms, 3) for name, ms in self.figures_ms.items()},
            "default_ms": {name: round(ms, 3) for name, ms in self.default_ms.items()},
            "ratio": round(self.ratio, 4),
            "ratio_interval": self.interval and [round(edge, 4) for edge in self.interval],
            "rounds": self.num_rounds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """All candidates, what was chosen, and why.

    control: the default beside itself. confirmed: the fastest candidate measured once more, None
    where none was faster.
    """

    control: Comparison
    candidates: tuple[Comparison, ...]
    confirmed: Comparison | None
    chosen: ThreadSettings
    reason: str

    @property
    def is_conclusive(self) -> bool:
        """Whether there were rounds enough to tell of every candidate."""
        rows = (self.control, *self.candidates, self.confirmed or self.control)
        return all(row.interval is not None for row in rows) or not self.is_default

    @property
    def is_default(self) -> bool:
        """Whether onnxruntime's own settings stay."""
        return self.chosen == DEFAULT


def candidate_settings(root: Path = Path("/")) -> list[ThreadSettings]:
    """What to try on this machine beside the default.

    Args:
        root: Where the system's files are.
    """
    cores = allowed_cores()
    return _candidates(len(cores), core_groups(root, cores))


def tune(
    candidates: Sequence[ThreadSettings],
    open_run: Callable[[ThreadSettings], Run],
    *,
    max_time_s: float,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[float], object] = time.sleep,
    on_step: OnStep | None = None,
) -> Tuning:
    """Hold every candidate against the default, then the fastest once more.

    So is the default itself, opened a second time: how far it is from itself is the scatter of this
    machine. The second measurement decides: of many candidates the best one is best by luck too.

    Args:
        candidates: At least one.
        open_run: Opens the bundle under some settings.
        max_time_s: For the rounds of all; every candidate gets one round in any case.
        clock: Seconds.
        pause: Waits for some seconds.
        on_step: Gets the number of the candidate.

    Raises:
        ConfigError: ``max_time_s`` is not above 0.
        EdgeError: The bundle can't be used.
    """
    if max_time_s <= 0:
        raise ConfigError(f"the time to measure must be above 0, got {max_time_s}")
    total = len(candidates) + 2
    share_s = max_time_s / total
    default = open_run(DEFAULT)

    def compare(settings: ThreadSettings, number: int) -> Comparison:
        if on_step is not None:
            on_step("measure", number, total)
        return _compare(settings, default, open_run(settings), share_s, clock, pause)

    control = compare(DEFAULT, 0)
    rows = tuple(compare(settings, number) for number, settings in enumerate(candidates, start=1))
    faster = [row for row in rows if row.beats(control)]
    best = min(faster, key=lambda row: row.ratio) if faster else None
    confirmed = None if best is None else compare(best.settings, total - 1)
    if on_step is not None:
        on_step("measure", total, total)
    is_faster = confirmed is not None and confirmed.beats(control)
    return Tuning(
        control=control,
        candidates=rows,
        confirmed=confirmed,
        chosen=confirmed.settings if confirmed is not None and is_faster else DEFAULT,
        reason=_reason(control, rows, confirmed),
    )


def _candidates(num_cores: int, groups: Sequence[tuple[int, ...]]) -> list[ThreadSettings]:
    """One thread, two, four and so on to one a core; spinning or not; on some of the cores."""
    counts = [1 << power for power in range(num_cores.bit_length()) if 1 << power < num_cores]
    # Groups first among the counts: their number of threads is tried on all cores as well.
    counts = sorted({*counts, num_cores, *map(len, groups)})
    found = []
    for count in counts:
        found.append(ThreadSettings(num_threads=count))
        if count > 1:  # one thread has nobody to wait for
            found.append(ThreadSettings(num_threads=count, spins=False))
    return [*found, *(ThreadSettings(num_threads=len(group), cores=group) for group in groups)]


def _compare(
    settings: ThreadSettings,
    default: Run,
    candidate: Run,
    share_s: float,
    clock: Callable[[], float],
    pause: Callable[[float], object],
) -> Comparison:
    """Rounds of both for ``share_s``, at least one: each twice a round, in turns which is inside.

    Opening and warming up do not count, so that no stall there takes a candidate's rounds away.
    Whatever changes evenly over a round, as the load does, weighs on both alike.
    """
    for index in range(_WARM_UP):
        default(index)
        candidate(index)
    end_s = clock() + share_s
    ours: list[Trial] = []
    theirs: list[Trial] = []
    ratios: list[float] = []
    while not ratios or (len(ratios) < _MAX_ROUNDS and clock() < end_s):
        outer, inner = (default, theirs), (candidate, ours)
        if len(ratios) % 2:
            outer, inner = inner, outer
        for run, trials in (outer, inner, inner, outer):
            pause(_PAUSE_S)
            trials.append(run(len(ratios)))
        mine, other = (sum(it.verdict_ms for it in trials[-2:]) for trials in (ours, theirs))
        ratios.append(mine / other)
    return Comparison(
        settings=settings,
        figures_ms=_figures(ours),
        default_ms=_figures(theirs),
        ratio=median(ratios),
        interval=median_interval(ratios),
        num_rounds=len(ratios),
    )


def _figures(trials: Sequence[Trial]) -> dict[str, float]:
    """Medians: a whole verdict, its largest parts, and a step of writing where there was one."""
    figures = {"verdict": median([trial.verdict_ms for trial in trials])}
    for stage in ("vision", "prefill"):
        figures[stage] = median([trial.stages_ms.get(stage, 0.0) for trial in trials])
    steps = [
        trial.decode_ms.get(task, 0.0) / (count - 1)  # the first token comes with the question
        for trial in trials
        for task, count in trial.written_tokens.items()
        if count > 1
    ]
    return {**figures, "decode step": median(steps)} if steps else figures


def _reason(control: Comparison, rows: Sequence[Comparison], confirmed: Comparison | None) -> str:
    """Why it was chosen, in words."""
    if confirmed is not None and confirmed.beats(control):
        return f"measured again it takes {confirmed.ratio:.3f} of the default's time for a verdict"
    if any(row.interval is None for row in (control, *rows, confirmed or control)):
        return (
            "too few rounds to tell of every candidate whether it is faster; give it more time "
            "with --max-time"
        )
    if confirmed is not None:
        return (
            f"{confirmed.settings.words()} looked faster, and measured again it was not by more "
            "than the scatter"
        )
    return f"nothing beats the default by more than the scatter and by {MIN_GAIN:.0%}"
