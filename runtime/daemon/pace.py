"""How long an inspection takes here, learned from those before."""

from __future__ import annotations

_WEIGHT = 0.1
_START_S = 0.5


class InspectionPace:
    """A running mean of the inspections' times.

    overhead_ms: what a part needs beside its inspection: the way back, and the record.
    """

    overhead_ms = 5.0

    def __init__(self) -> None:
        self._mean_s: float | None = None

    def learn(self, seconds: float) -> None:
        """Take in the time of one inspection."""
        before = self._mean_s
        self._mean_s = seconds if before is None else before + _WEIGHT * (seconds - before)

    def expected_s(self) -> float:
        """About how long the next one takes."""
        return _START_S if self._mean_s is None else self._mean_s
