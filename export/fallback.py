"""Which modules go back to float until the gate passes: ranked, then as few as the search finds.

The modules that cost the task most go back first. The search halves: it takes for granted that
more modules in float never make the gate fail, and what it admits has itself passed.
"""

from __future__ import annotations

from collections.abc import Callable


def fewest_kept(count: int, passes: Callable[[int], bool]) -> int | None:
    """The least k in 0..count with ``passes(k)`` that halving finds, or None where not all will do.

    Args:
        count: How many modules there are.
        passes: Whether the gate passes with the first k of the ranking kept; called for 0, then for
            all of them, then in between.
    """
    if passes(0):
        return 0
    if not passes(count):
        return None
    failed, passed = 0, count
    while passed - failed > 1:
        middle = (failed + passed) // 2
        if passes(middle):
            passed = middle
        else:
            failed = middle
    return passed
