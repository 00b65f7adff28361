"""The bar chart: how long a bar is."""

from __future__ import annotations

import numpy as np

from adcopilot_edge.calibration.bar_chart import draw_bars

BLUE = (0x12, 0x59, 0xC3)


def bar_lengths(chart: np.ndarray) -> list[int]:
    """The longest run of blue in each group of rows that has any; the legend's square left out."""
    widths = (chart == BLUE).all(axis=2).sum(axis=1)
    starts = np.flatnonzero(np.diff(np.concatenate([[0], widths > 0])) == 1)
    return [int(widths[start]) for start in starts][:-1]


def test_bars_are_as_long_as_their_figures() -> None:
    values = {"one": 100.0, "two": 50.0, "three": 0.0, "four": None}
    chart = np.asarray(draw_bars("title", list(values), {"mine": values, "other": {}}))
    full, half = bar_lengths(chart)
    assert abs(full - 2 * half) <= 1
    assert full > 500
