"""Mixing sources: exact shares, whole passes in new orders, and any place by its number alone."""

from __future__ import annotations

from collections import Counter

import pytest
import tiny

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.data import sample_builder
from adcopilot_edge.training.mixture import Mixture
from adcopilot_edge.training.stage_data import StageData, first_number, mixture_of, open_sources
from adcopilot_edge.training.stage_recipe import StageRecipe

pytestmark = pytest.mark.torch


def test_shares_are_the_weights() -> None:
    mixture = Mixture([3, 1], [None, None], seed=0)
    assert Counter(mixture.place(i)[0] for i in range(2000)) == {0: 1500, 1: 500}
    rare = Mixture([1, 1e-9], [None, None], seed=0)
    assert Counter(rare.place(i)[0] for i in range(1000))[1] == 1


def test_an_endless_source_is_gone_through_in_order() -> None:
    mixture = Mixture([1, 1], [None, None], seed=0)
    places = [mixture.place(i) for i in range(3000)]
    for source in (0, 1):
        assert [number for owner, number in places if owner == source] == list(range(1500))


def test_every_pass_of_a_finite_source_holds_each_sample_once_in_an_order_of_its_own() -> None:
    mixture = Mixture([1, 2], [7, None], seed=3)
    numbers = [number for owner, number in map(mixture.place, range(3000)) if owner == 0]
    passes = [numbers[start : start + 7] for start in range(0, 70, 7)]
    assert all(sorted(item) == list(range(7)) for item in passes)
    assert len({tuple(item) for item in passes}) > 5


def test_a_place_depends_on_its_number_and_the_seed_alone() -> None:
    sizes = [50, None, 9]
    ordered = Mixture([1, 2, 3], sizes, seed=1)
    expected = {i: ordered.place(i) for i in range(2500)}
    for i in (2400, 3, 1999, 0, 1000):
        assert Mixture([1, 2, 3], sizes, seed=1).place(i) == expected[i]
    other = Mixture([1, 2, 3], sizes, seed=2)
    assert any(other.place(i) != expected[i] for i in range(50))


def test_epochs_are_passes_over_the_first_source() -> None:
    assert Mixture([1, 1], [300, None], seed=0).num_samples(2) == 1200
    assert Mixture([1], [300], seed=0).num_samples(0.5) == 150
    with pytest.raises(ConfigError, match="without end"):
        Mixture([1, 1], [None, 300], seed=0).num_samples(2)


def test_an_empty_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="source 2 of the data holds no samples"):
        Mixture([1, 1], [3, 0], seed=0)


def test_a_stage_mixes_what_its_recipe_says() -> None:
    stage = StageRecipe.model_validate(
        {
            "name": "x",
            "trains": ["tower"],
            "steps": 1,
            "batch_size": 2,
            "learning_rate": 1,
            "loss": {"verdict": 1},
            "data": [
                {"kind": "synthetic", "tasks": ["verdict"], "count": 5},
                {"kind": "synthetic", "tasks": ["locate"], "weight": 0.5},
            ],
        }
    )
    builder = sample_builder(tiny.tiny_config(), tiny.tiny_processor(), 112)
    sources = open_sources(stage, first_number(0, 0), 0)
    mixture = mixture_of(stage, sources, 0)
    data = StageData(builder, sources, mixture, count=12)
    kinds = [set(data[i].packed.kinds.tolist()) - {-1} for i in range(12)]
    assert kinds == [{0} if mixture.place(i)[0] == 0 else {2} for i in range(12)]
    assert abs(data.length(0) - len(data[0].packed.ids)) < 80
    again = StageData(builder, open_sources(stage, first_number(0, 0), 0), mixture, count=12)
    assert (again[7].patches == data[7].patches).all()
