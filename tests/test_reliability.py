"""The reliability diagram shows each bin where its figures are."""

from __future__ import annotations

import numpy as np
from PIL import ImageColor

from adcopilot_edge.calibration.reliability import draw_reliability
from adcopilot_edge.calibration.temperature import measure_reliability
from adcopilot_edge.runtime.marks import SOURCE_COLOURS


def test_dots_are_where_scores_and_shares_are():
    before = measure_reliability([0.25, 0.25, 0.25, 0.25], [True, False, False, False])
    after = measure_reliability([0.75] * 4, [False] * 4)
    picture = np.asarray(draw_reliability(before, after, "Bundle"))
    is_ink = np.all(picture == ImageColor.getrgb(SOURCE_COLOURS["text"]), axis=2)
    # Squares of 400 pixels from (76, 92) and (552, 92) on.
    assert is_ink[492 - 100, 76 + 100], "on the diagonal"
    assert is_ink[492 - 1, 552 + 300], "no bad part"
    assert is_ink[492 - 200, 552 + 300], "the way to the diagonal"
    assert not is_ink[:, :60].any()
    left, right = is_ink[:, :514].sum(), is_ink[:, 514:].sum()
    assert 400 < left < 600  # one dot of radius 13: 531 pixels, less its white edge
    assert right > left + 400  # and a line 300 pixels high, two wide, from the dot's edge on
