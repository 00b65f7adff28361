"""From the range of a tensor to the UINT8 levels that it is quantized to.

The one rule for the export and for a device that measures ranges anew. Knows nothing of graphs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LAST = 255
# The smallest normal float32: a tensor that is always zero still needs a step.
_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Levels:
    """Level ``q`` stands for ``(q - zero) * scale``, q from 0 to 255; what lies outside is clipped.

    scale: the step between two levels, above zero, a float32. zero: the level of the value 0.
    """

    scale: float
    zero: int

    @property
    def low(self) -> float:
        """The smallest value that has a level."""
        return -self.zero * self.scale

    @property
    def high(self) -> float:
        """The largest value that has a level."""
        return (_LAST - self.zero) * self.scale


def levels_of(low: float, high: float) -> Levels:
    """The levels over ``low`` to ``high``, finite, widened to hold 0.

    Of 256 levels all are used, so the step is never above that of signed levels, which reach
    equally far on both sides.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max((high - low) / _LAST, _SMALLEST_SCALE))
    zero = int(np.clip(np.rint(-low / float(scale)), 0, _LAST))
    return Levels(float(scale), zero)
