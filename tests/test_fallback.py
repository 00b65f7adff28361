"""The search for the fewest modules in float, and how a module's loss is measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adcopilot_edge.export.fallback import fewest_kept
from adcopilot_edge.export.sensitivity import (
    Response,
    Sensitivity,
    compare_responses,
    divergence,
    rank,
)

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("least", range(12))
def test_halving_finds_the_least_that_passes(least: int) -> None:
    asked: list[int] = []

    def passes(count: int) -> bool:
        asked.append(count)
        return count >= least

    assert fewest_kept(11, passes) == least
    assert len(asked) <= 6
    assert len(set(asked)) == len(asked)


def test_nothing_passes() -> None:
    asked: list[int] = []

    def fails(count: int) -> bool:
        asked.append(count)
        return False

    assert fewest_kept(70, fails) is None
    assert asked == [0, 70]


def test_what_is_found_has_passed_whatever_the_gate_does_in_between() -> None:
    passing = {3, 6, 9, 11}
    found = fewest_kept(11, lambda count: count in passing)
    assert found in passing


def test_divergence_by_hand() -> None:
    found = divergence(np.array([0.5, 0.9, 0.2]), np.array([0.25, 0.9, 0.2]))
    assert found[0] == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75))
    assert found[1] == found[2] == 0
    assert np.isfinite(divergence(np.array([1.0]), np.array([0.0]))).all()


def response(score: float, seen: float, map_value: float | None = None) -> Response:
    return Response(
        seen=np.full((2, 3), seen, np.float32),
        score=score,
        is_anomaly=score >= 0.5,
        map=None if map_value is None else np.full((2, 2), map_value, np.float32),
    )


def test_a_module_s_loss_is_verdict_plus_map() -> None:
    references = [response(0.6, 1.0, 0.5), response(0.1, 2.0, 0.5)]
    actual = [response(0.4, 1.1, 0.25), response(0.1, 2.0, 0.5)]
    found = compare_responses("visual.merger.mlp", references, actual)
    verdict = 0.6 * math.log(0.6 / 0.4) + 0.4 * math.log(0.4 / 0.6)
    of_map = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert found.loss == pytest.approx((verdict + of_map) / 2, rel=1e-5)
    assert found.error == pytest.approx(0.05, rel=1e-4)
    assert (found.flips, found.num_pairs) == (1, 2)


def test_without_a_map_the_verdict_alone_counts() -> None:
    found = compare_responses("m", [response(0.6, 1.0)], [response(0.6, 1.5)])
    assert found.loss == 0
    assert found.error == pytest.approx(0.5)


def test_a_module_without_a_number_falls_back_first() -> None:
    def item(module: str, loss: float) -> Sensitivity:
        return Sensitivity(module=module, loss=loss, error=0.0, flips=0, num_pairs=1)

    found = [item("a", 0.1), item("b", math.nan), item("c", 3.0)]
    assert rank(found) == ("b", "c", "a")
