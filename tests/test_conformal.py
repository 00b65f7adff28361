"""The bounds of a calibration hold: exact values, and 1,000 random splits."""

from __future__ import annotations

import numpy as np
import pytest

from adcopilot_edge.calibration.conformal import (
    num_good_needed,
    upper_limit,
    upper_limit_bound,
    upper_share,
)
from adcopilot_edge.errors import ConfigError, TooFewSamplesError

NUM_SPLITS = 1000


@pytest.mark.parametrize(
    ("share", "needed"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.3, 3), (0.5, 1), (0.07, 14)]
)
def test_good_parts_that_a_bound_needs(share, needed):
    assert num_good_needed(share) == needed
    scores = np.arange(needed, dtype=float)
    assert upper_limit(scores, share) == scores[-1]
    with pytest.raises(TooFewSamplesError, match=f"at least {needed} are needed .*Add 1, or allow"):
        upper_limit(scores[1:], share)


def test_a_share_is_the_decimal_that_was_written():
    """0.29 * 100 is below 29 in floats, which would forbid the 29th part from the top."""
    assert upper_limit(np.arange(99), 0.29) == 99 - 29
    assert upper_limit(np.arange(199), 0.01) == 199 - 2


def test_the_order_of_parts_changes_nothing(rng):
    scores = rng.normal(size=250)
    assert upper_limit(scores, 0.02) == upper_limit(rng.permutation(scores), 0.02)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_out_of_range(share):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        upper_limit([1.0], share)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        upper_share(0, 1, share)


@pytest.mark.parametrize(
    ("count", "total", "confidence", "bound"),
    [
        (0, 100, 0.95, 1 - 0.05 ** (1 / 100)),  # the closed form, near the "rule of three"
        (0, 59, 0.95, 1 - 0.05 ** (1 / 59)),  # 59 without a failure: 95 % sure of 95 %
        (1, 1, 0.95, 1.0),
        (9, 10, 0.95, 0.95 ** (1 / 10)),  # the closed form at the other end
        (0, 1, 0.5, 0.5),
        (2, 3, 0.9, 0.9 ** (1 / 3)),
        (1, 10, 0.975, 0.4450161),  # R: binom.test(1, 10)$conf.int
        (4, 20, 0.975, 0.4366140),  # R: binom.test(4, 20)$conf.int
    ],
)
def test_clopper_pearson(count, total, confidence, bound):
    # R prints seven digits.
    assert upper_share(count, total, confidence) == pytest.approx(bound, abs=1e-7)


@pytest.mark.parametrize(("count", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_a_count_out_of_range(count, total):
    with pytest.raises(ConfigError, match="0 <= count <= total"):
        upper_share(count, total, 0.95)


@pytest.mark.parametrize("share", [0.01, 0.05])
@pytest.mark.parametrize("decimals", [6, 1])
def test_the_bound_on_overkill_holds_over_random_splits(rng, share, decimals):
    """On average it is at most ``share``; in 95 of 100 splits at most its bound. Ties included."""
    population = np.round(rng.gamma(2.0, size=40_000), decimals)
    count, confidence = 300, 0.95
    overkill = np.empty(NUM_SPLITS)
    for split in range(NUM_SPLITS):
        chosen = rng.choice(population, size=count, replace=False)
        overkill[split] = np.mean(population > upper_limit(chosen, share))
    noise = overkill.std() / np.sqrt(NUM_SPLITS)
    assert overkill.mean() <= share + 3 * noise  # 3 standard errors of the mean over splits
    bound = upper_limit_bound(count, share, confidence)
    broken = np.mean(overkill > bound)
    # 3 standard errors of a share of 5 % over the splits
    assert broken <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / NUM_SPLITS)
    if decimals == 6:  # without ties the bounds are no looser than they must be
        assert overkill.mean() >= 0.8 * share - 3 * noise
        assert broken >= 0.05 - 3 * np.sqrt(0.05 * 0.95 / NUM_SPLITS)


def test_the_bound_on_escapes_holds_over_random_samples(rng):
    true_share, total, confidence = 0.08, 60, 0.9
    escapes = rng.binomial(total, true_share, size=NUM_SPLITS)
    broken = np.mean([upper_share(int(count), total, confidence) < true_share for count in escapes])
    assert broken <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / NUM_SPLITS)
