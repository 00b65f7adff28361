"""The temperature, and how well scores are probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from adcopilot_edge.calibration.temperature import fit_temperature, measure_reliability
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.verdict_rule import margins_of, soften


@pytest.fixture
def parts(rng):
    """Scores that are exact probabilities, and what came true."""
    margins = rng.normal(0, 2, 20_000)
    scores = 1 / (1 + np.exp(-margins))
    return scores, rng.random(20_000) < scores


@pytest.mark.parametrize("true_temperature", [0.25, 1.0, 4.0])
def test_the_temperature_is_found(parts, true_temperature):
    scores, truth = parts
    sharpened = soften(scores, 1 / true_temperature)
    # The likelihood of 20,000 labels knows a scale to about 2 %; clipping and softening add less.
    assert fit_temperature(sharpened, truth) == pytest.approx(true_temperature, rel=0.06)


def test_it_is_the_minimum_of_the_likelihood(parts):
    scores, truth = (column[:500] for column in parts)
    targets = np.where(truth, (truth.sum() + 1) / (truth.sum() + 2), 1 / ((~truth).sum() + 2))

    def loss(temperature):
        said = soften(scores, temperature)
        return -np.mean(targets * np.log(said) + (1 - targets) * np.log1p(-said))

    best = fit_temperature(scores, truth)
    assert best is not None
    assert loss(best) < min(loss(0.99 * best), loss(1.01 * best))


def test_the_error_falls(parts):
    scores, truth = parts
    sharp = soften(scores, 0.2)
    temperature = fit_temperature(sharp, truth)
    assert temperature is not None
    before = measure_reliability(sharp, truth).calibration_error
    after = measure_reliability(soften(sharp, temperature), truth).calibration_error
    assert before > 0.1
    assert after < 0.02  # 10 bins of 2,000 labels: each share has an error of about 1 %


def test_parts_told_apart_without_error_have_a_temperature():
    temperature = fit_temperature([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    assert temperature is not None
    assert 0.1 < temperature < 10


def test_scores_that_do_not_follow_the_labels_have_none():
    assert fit_temperature([0.9, 0.8, 0.2], [False, False, True]) is None
    assert fit_temperature([0.5, 0.5], [False, True]) is None


def test_certain_scores_are_finite():
    assert np.all(np.isfinite(margins_of([0.0, 1.0])))
    assert fit_temperature([0.0, 0.0, 1.0, 1.0], [False, True, True, True]) is not None


def test_expected_calibration_error_by_hand():
    """Bins from 0.1, 0.2 and 0.9 on; a score of 1 is in the last one."""
    reliability = measure_reliability([0.15, 0.25, 0.9, 1.0], [False, True, True, True])
    assert reliability.counts.tolist() == [0, 1, 1, 0, 0, 0, 0, 0, 0, 2]
    assert reliability.came_true[[1, 2, 9]].tolist() == [0, 1, 1]
    expected = (0.15 + 0.75 + 2 * 0.05) / 4
    assert reliability.calibration_error == pytest.approx(expected)


def test_a_temperature_of_one_changes_nothing():
    scores = np.linspace(0.001, 0.999, 50)
    np.testing.assert_allclose(soften(scores, 1.0), scores, rtol=1e-12)  # a logarithm and back


@pytest.mark.parametrize(
    ("scores", "labels"), [([], []), ([0.5], [True, False]), ([0.5, 0.6], [True, True])]
)
def test_unusable_labels(scores, labels):
    with pytest.raises(ConfigError):
        fit_temperature(scores, labels)
