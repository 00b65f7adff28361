"""When a measurement stops, by a clock that only trials move."""

from __future__ import annotations

import threading

import pytest
from profile_cases import settings, trial

from adcopilot_edge.errors import ConfigError, SessionError
from adcopilot_edge.runtime.profile.loop import Stopper, measure


class Line:
    """Trials of given lengths; the clock stands still between them."""

    def __init__(self, *latencies_ms: float) -> None:
        self.now_s = 0.0
        self._latencies_ms = latencies_ms

    def run(self, index: int):
        latency_ms = self._latencies_ms[index % len(self._latencies_ms)]
        done = trial(self.now_s, latency_ms)
        self.now_s += latency_ms / 1000
        return done

    def measure(self, temperatures=lambda: ([], []), **changes):
        stopper = Stopper(settings(**changes), temperatures)
        return measure(self.run, stopper, clock=lambda: self.now_s)


def test_stops_once_stable() -> None:
    measured = Line(100).measure(max_time_s=60)
    assert measured.stopped_by == "stable"
    assert len(measured.trials) == 30
    assert measured.wall_s == pytest.approx(3)
    assert measured.per_second == pytest.approx(10)


def test_gives_up_and_says_so() -> None:
    measured = Line(100, 300).measure(max_time_s=10)
    assert measured.stopped_by == "max time"
    assert not measured.stability.is_stable
    assert measured.wall_s == pytest.approx(10, abs=0.31)


def test_one_inspection_longer_than_the_limit_still_counts() -> None:
    measured = Line(5000).measure(max_time_s=1)
    assert len(measured.trials) == 1
    assert not measured.stability.is_stable


def test_a_duration_goes_on_when_stable() -> None:
    measured = Line(100).measure(duration_s=20)
    assert measured.stopped_by == "duration"
    assert len(measured.trials) == pytest.approx(200, abs=1)
    assert measured.stability.is_stable


def test_a_soak_waits_for_a_steady_temperature() -> None:
    line = Line(1000)

    def temperatures():
        seconds = [float(second) for second in range(int(line.now_s) + 1)]
        return seconds, [min(70.0, 40 + second / 10) for second in seconds]

    measured = line.measure(temperatures, soak_s=1800)
    assert measured.stopped_by == "steady temperature"
    # It climbs for 300 s; the older half of the window has to be nearly past that.
    assert 450 < measured.wall_s < 610


@pytest.mark.parametrize("degrees", [None, 0.1])
def test_a_soak_ends_anyway(degrees) -> None:
    line = Line(1000)

    def temperatures():
        if degrees is None:
            return [], []
        seconds = [float(second) for second in range(int(line.now_s) + 1)]
        return seconds, [second * degrees for second in seconds]

    measured = line.measure(temperatures, soak_s=600)
    assert measured.stopped_by == "soak time"


def test_several_callers_run_at_once() -> None:
    barrier = threading.Barrier(3, timeout=10)

    def run(index: int):
        barrier.wait()  # passes only when three are in here
        return trial(0.0, 100.0)

    stopper = Stopper(settings(max_time_s=1e-9), lambda: ([], []))
    measured = measure(run, stopper, concurrency=3)
    assert len(measured.trials) == 3


@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_first_failure_ends_it(concurrency) -> None:
    begun = []

    def run(index: int):
        begun.append(index)
        raise SessionError("the graph failed")

    stopper = Stopper(settings(), lambda: ([], []))
    with pytest.raises(SessionError, match="the graph failed"):
        measure(run, stopper, concurrency=concurrency)
    assert len(begun) <= concurrency


def test_progress_is_told_in_seconds() -> None:
    steps: list[tuple[str, int, int]] = []
    line = Line(400)
    stopper = Stopper(settings(duration_s=2), lambda: ([], []))
    measure(line.run, stopper, clock=lambda: line.now_s, on_step=lambda *step: steps.append(step))
    assert steps[0] == ("measure", 0, 2)
    assert steps[-1] == ("measure", 2, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("takt_ms", 0),
        ("takt_ms", -5),
        ("takt_ms", float("nan")),
        ("takt_ms", float("inf")),
        ("max_time_s", 0),
        ("duration_s", 0),
        ("soak_s", -1),
        ("concurrency", 0),
        ("warm_up", -1),
        ("max_new_tokens", 0),
        ("task", "guess"),
    ],
)
def test_settings_out_of_range(name, value) -> None:
    with pytest.raises(ConfigError, match=name):
        settings(**{name: value})


def test_a_soak_is_a_duration() -> None:
    with pytest.raises(ConfigError, match="leave out"):
        settings(soak_s=10, duration_s=10)
