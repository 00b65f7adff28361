"""How long to wait between attempts."""

from __future__ import annotations

import random

_FIRST_S = 0.25


class BackOff:
    """Pauses that double up to ``max_s``, each cut by chance to between a half and the whole.

    Chance keeps many devices from coming back to one server at the same moment.
    """

    def __init__(self, max_s: float, rng: random.Random | None = None) -> None:
        self._max_s = max_s
        self._rng = rng or random.Random()
        self._next_s = min(_FIRST_S, max_s)

    def take(self) -> float:
        """The next pause in seconds."""
        pause = self._next_s * self._rng.uniform(0.5, 1.0)
        self._next_s = min(self._max_s, 2 * self._next_s)
        return pause

    def reset(self) -> None:
        """Begin with the shortest again."""
        self._next_s = min(_FIRST_S, self._max_s)
