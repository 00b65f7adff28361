"""The thresholds that labelled pairs speak for."""

from __future__ import annotations

import numpy as np
import pytest

from adcopilot_edge.calibration.thresholds import choose_thresholds, describe_thresholds
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.metrics import balanced_accuracy


def chosen(truth: list[bool], scores: list[float]) -> dict[str, dict[str, float]]:
    found = choose_thresholds(truth, scores)
    assert found is not None
    return found


def test_pairs_that_are_told_apart_get_a_round_number_between_them() -> None:
    found = chosen([False, False, True, True], [0.1, 0.31, 0.52, 0.9])
    perfect = {"threshold": 0.4, "balanced_accuracy": 1.0, "escapes": 0, "overkill": 0}
    assert found == {"best": perfect, "no_escape": perfect}


def test_the_best_may_let_one_through() -> None:
    truth = [False] * 8 + [True] * 4
    scores = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.12, 0.7, 0.8, 0.9]
    found = chosen(truth, scores)
    assert 0.4 < found["best"]["threshold"] <= 0.7
    assert (found["best"]["escapes"], found["best"]["overkill"]) == (1, 0)
    assert 0.1 < found["no_escape"]["threshold"] <= 0.12
    assert (found["no_escape"]["escapes"], found["no_escape"]["overkill"]) == (0, 6)
    assert len(describe_thresholds(found)) == 2


def test_no_other_threshold_is_better(rng: np.random.Generator) -> None:
    truth = rng.random(300) < 0.5
    scores = np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1)
    found = chosen(truth.tolist(), scores.tolist())
    tried = [balanced_accuracy(truth, scores >= value) for value in np.linspace(0.001, 1, 2000)]
    assert found["best"]["balanced_accuracy"] >= round(max(tried), 4)
    assert scores[truth].min() >= found["no_escape"]["threshold"]


def test_figures_are_those_of_the_threshold_that_is_said(rng: np.random.Generator) -> None:
    """Scores crowd at both ends, where a rounded threshold would be on another side of some."""
    truth = rng.random(200) < 0.5
    scores = 1 / (1 + np.exp(-rng.normal(12.0 * truth + 4, 6.0)))
    for item in chosen(truth.tolist(), scores.tolist()).values():
        called = scores >= item["threshold"]
        assert 0 < item["threshold"] < 1
        assert item["escapes"] == (truth & ~called).sum()
        assert item["overkill"] == (~truth & called).sum()


def test_a_bad_pair_of_score_0_can_not_be_caught() -> None:
    found = chosen([True, True, False], [0.0, 0.9, 0.2])
    assert found["no_escape"] is None
    assert len(describe_thresholds(found)) == 1


def test_one_kind_of_pairs_says_nothing() -> None:
    assert choose_thresholds([True, True], [0.2, 0.9]) is None
    assert choose_thresholds([False], [0.2]) is None


@pytest.mark.parametrize(("truth", "scores"), [([], []), ([True, False], [0.5])])
def test_lengths_have_to_agree(truth: list[bool], scores: list[float]) -> None:
    with pytest.raises(ConfigError):
        choose_thresholds(truth, scores)
