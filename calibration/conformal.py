"""Limits from good parts alone, and bounds that need no model of the scores.

Split conformal prediction: of n good parts and the next one, exchangeable with them, each is
equally likely to have any rank. Clopper-Pearson: the exact bound of a binomial share. Knows
nothing of pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from adcopilot_edge.errors import ConfigError, TooFewSamplesError

_BISECTIONS = 60  # from 1 to below the last digit of a float


def num_good_needed(share: float) -> int:
    """How many good parts a bound of ``share`` needs: the least n with n >= 1 / share - 1.

    Raises:
        ConfigError: ``share`` is not between 0 and 1.
    """
    _check_share("a share", share)
    return math.ceil(1 / _exact(share)) - 1


def limit_rank(count: int, share: float) -> int:
    """The rank of the limit among ``count`` good parts, 1 for the highest score.

    Raises:
        ConfigError: ``share`` is not between 0 and 1.
        TooFewSamplesError: So few good parts give no limit that holds.
    """
    needed = num_good_needed(share)
    if count < needed:
        raise TooFewSamplesError(
            f"{count} good parts can't bound a share of {share:g}: at least {needed} are needed "
            f"(n >= 1/{share:g} - 1). Add {needed - count}, or allow a larger share"
        )
    return math.floor((count + 1) * _exact(share))


def upper_limit(scores: ArrayLike, share: float) -> float:
    """The least limit that the next good part exceeds with a chance of at most ``share``.

    The chance is over the good parts of the calibration and the next one together. Equal scores
    only lower it.

    Args:
        scores: (S,) of good parts, higher for an anomaly.
        share: Between 0 and 1.

    Raises:
        ConfigError: ``share`` is not between 0 and 1.
        TooFewSamplesError: There are fewer than ``num_good_needed``.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))
    return float(values[values.size - limit_rank(values.size, share)])


def upper_limit_bound(count: int, share: float, confidence: float) -> float:
    """The chance that this very limit of ``upper_limit`` is exceeded is at most this.

    ``share`` holds on average over calibrations; this with ``confidence`` for each of them. For
    independent parts the chance is a beta variable, whose quantile is a Clopper-Pearson bound.
    """
    return upper_share(limit_rank(count, share) - 1, count, confidence)


def upper_share(count: int, total: int, confidence: float) -> float:
    """The one-sided Clopper-Pearson bound of a share of which ``count`` of ``total`` were seen.

    Raises:
        ConfigError: ``total`` is not positive, ``count`` not in 0..``total``, or ``confidence`` not
            between 0 and 1.
    """
    _check_share("the confidence", confidence)
    if total < 1 or not 0 <= count <= total:
        raise ConfigError(f"a share needs 0 <= count <= total and a total, got {count} of {total}")
    if count == total:
        return 1.0
    return _crossing(lambda share: _binomial_cdf(count, total, share) - (1 - confidence))


def _crossing(falling: Callable[[float], float]) -> float:
    """Where a falling function crosses 0 between 0 and 1, from above."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return high


def _binomial_cdf(count: int, total: int, share: float) -> float:
    """The chance of at most ``count`` of ``total``, each with the chance ``share``, not 0 or 1."""
    logs = [
        math.lgamma(total + 1)
        - math.lgamma(hits + 1)
        - math.lgamma(total - hits + 1)
        + hits * math.log(share)
        + (total - hits) * math.log1p(-share)
        for hits in range(count + 1)
    ]
    return math.fsum(math.exp(log) for log in logs)


def _exact(share: float) -> Fraction:
    """``share`` as it was written: 0.29 and not the float below it."""
    return Fraction(repr(float(share)))


def _check_share(what: str, share: float) -> None:
    if not 0 < share < 1:
        raise ConfigError(f"{what} must be between 0 and 1, got {share}")
