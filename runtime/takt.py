"""The time an inspection may take: which questions still fit, when an answer is cut, the overrun.

Knows names and milliseconds, and nothing of what is asked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from adcopilot_edge.errors import ConfigError

# Whoever typed a question waits for its answer; a description is the longest and the least used.
DROP_ORDER = ("describe", "classify", "locate", "ask")

# The weight of the newest answer: an average of about the last four.
_WEIGHT = 0.25
# All that is known of an answer that was cut is that it takes longer.
_CUT_FACTOR = 2.0
# A question that is dropped is measured no more: it gets cheaper until it is tried again.
_DROPPED_FACTOR = 0.95


def now_ms() -> float:
    """Milliseconds of a clock that never goes back, from an unknown start."""
    return time.perf_counter_ns() / 1e6


class Pace:
    """What the answers took so far, in milliseconds by name of the question."""

    def __init__(self) -> None:
        self._expected_ms: dict[str, float] = {}

    def expected_ms(self, name: str) -> float:
        """What the next answer will take; 0 for a question that was never asked."""
        return self._expected_ms.get(name, 0.0)

    def learn(self, name: str, spent_ms: float, *, was_cut: bool) -> None:
        """Take an answer into account; one that was cut says only that it takes longer."""
        known = self._expected_ms.get(name, spent_ms)
        if was_cut:
            self._expected_ms[name] = max(known, _CUT_FACTOR * spent_ms)
        else:
            self._expected_ms[name] = known + _WEIGHT * (spent_ms - known)

    def learn_dropped(self, name: str) -> None:
        """Expect a little less of a question that had to be dropped."""
        self._expected_ms[name] = _DROPPED_FACTOR * self.expected_ms(name)


class AnswerTime:
    """The time left while one answer is decoded.

    was_cut: there was none for a further token.
    """

    def __init__(self, left_ms: Callable[[], float]) -> None:
        self.was_cut = False
        self._left_ms = left_ms
        self._before_ms: float | None = None

    def may_go_on(self) -> bool:
        """False if one more token would come too late, by the time that the last one took."""
        left_ms = self._left_ms()
        # The first call comes behind the question, which takes longer than a token.
        step_ms = 0.0 if self._before_ms is None else self._before_ms - left_ms
        self._before_ms = left_ms
        self.was_cut = left_ms <= step_ms
        return not self.was_cut


class Takt:
    """The time of one inspection, from the creation on.

    Args:
        limit_ms: What the inspection may take; None for any time.
        pace: What the answers take; it learns from this inspection, limit or not.

    Raises:
        ConfigError: ``limit_ms`` is not a positive number.
    """

    def __init__(self, limit_ms: float | None, pace: Pace) -> None:
        if limit_ms is not None and not (math.isfinite(limit_ms) and limit_ms > 0):
            raise ConfigError(f"takt_ms must be a positive number of milliseconds, got {limit_ms}")
        self._limit_ms = limit_ms
        self._pace = pace
        self._start_ms = now_ms()

    def order(self, names: Iterable[str]) -> list[str]:
        """The questions in the order to ask them: under a limit, those dropped last come first."""
        if self._limit_ms is None:
            return list(names)
        return sorted(names, key=DROP_ORDER.index, reverse=True)

    def fits(self, name: str) -> bool:
        """True if the question can be expected to be answered in time."""
        left_ms = self._left_ms()
        return left_ms > 0 and left_ms >= self._pace.expected_ms(name)

    def drop(self, names: Iterable[str]) -> tuple[str, ...]:
        """Note the questions that are not asked: ``takt_dropped:NAME`` for each."""
        dropped = tuple(names)
        for name in dropped:
            self._pace.learn_dropped(name)
        return tuple(f"takt_dropped:{name}" for name in dropped)

    @contextmanager
    def answering(self, name: str) -> Iterator[AnswerTime]:
        """Measure the answer to a question that the block asks, and learn from it."""
        started_ms = now_ms()
        answer = AnswerTime(self._left_ms)
        yield answer
        self._pace.learn(name, now_ms() - started_ms, was_cut=answer.was_cut)

    def overrun_ms(self) -> float | None:
        """By how much the limit is exceeded now, 0 if it is not; None without a limit."""
        return None if self._limit_ms is None else max(0.0, -self._left_ms())

    def _left_ms(self) -> float:
        limit_ms = math.inf if self._limit_ms is None else self._limit_ms
        return limit_ms - (now_ms() - self._start_ms)


def overrun_notes(overrun_ms: float | None) -> tuple[str, ...]:
    """The note ``takt_overrun:+12 ms`` if there is an overrun, rounded up."""
    return (f"takt_overrun:+{math.ceil(overrun_ms)} ms",) if overrun_ms else ()
