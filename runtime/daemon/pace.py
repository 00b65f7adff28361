"""How long an inspection takes here, and its record, learned from those before."""

from __future__ import annotations

import math

_WEIGHT = 0.1
_START_S = 0.5
_RECORD_START_MS = 5.0
_RECORD_LEAST_MS, _RECORD_MOST_MS = 3.0, 50.0
_SHARE_OF_TAKT = 0.3
_SPREADS = 3.0  # mean distances from the mean: about 2.4 standard deviations


class InspectionPace:
    """Running means of the times of inspections and of their records."""

    def __init__(self) -> None:
        self._mean_s: float | None = None
        self._spread_s = 0.0
        self._record_ms = _RECORD_START_MS
        self._record_spread_ms = 0.0

    @property
    def overhead_ms(self) -> float:
        """What a part needs beside its inspection: the way back, and the record."""
        usual = self._record_ms + 2 * self._record_spread_ms
        return min(max(usual, _RECORD_LEAST_MS), _RECORD_MOST_MS)

    def learn(self, seconds: float) -> None:
        """Take in the time of one inspection."""
        if self._mean_s is None:
            self._mean_s = seconds
            return
        away = seconds - self._mean_s
        self._mean_s += _WEIGHT * away
        self._spread_s += _WEIGHT * (abs(away) - self._spread_s)

    def learn_record(self, seconds: float) -> None:
        """Take in how long one record took, from the end of its part to the disk."""
        away = 1000 * seconds - self._record_ms
        self._record_ms += _WEIGHT * away
        self._record_spread_ms += _WEIGHT * (abs(away) - self._record_spread_ms)

    def expected_s(self) -> float:
        """About how long the next inspection takes."""
        return _START_S if self._mean_s is None else self._mean_s

    def surely_s(self, parts: int) -> float:
        """After how long the inspections of so many parts are over, with hardly an exception."""
        return parts * self.expected_s() + _SPREADS * self._spread_s * math.sqrt(parts)

    def time_for(self, takt_ms: float) -> float:
        """The seconds of a takt after which a part must end so that its answer is in time."""
        return (takt_ms - min(self.overhead_ms, _SHARE_OF_TAKT * takt_ms)) / 1000
