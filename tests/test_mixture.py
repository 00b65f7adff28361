"""Mixing sources: exact shares, whole passes in new orders, and any place by its number alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.training.chat_ad.sample import ChatSample, Turn
from adcopilot_edge.training.chat_ad.shard_writer import write_shard
from adcopilot_edge.training.chat_ad.shards import shard_name
from adcopilot_edge.training.mixture import Mixture
from adcopilot_edge.training.sample_builder import sample_builder
from adcopilot_edge.training.stage_data import (
    PairSamples,
    StageData,
    first_number,
    mixture_of,
    open_sources,
    resolve_steps,
)
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
    assert Mixture([1, 1], [300, None], seed=0).num_steps(2, 4) == 300
    assert Mixture([1], [300], seed=0).num_steps(0.5, 4) == 38
    with pytest.raises(ConfigError, match="without end"):
        Mixture([1, 1], [None, 300], seed=0).num_steps(2, 4)


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


def test_no_run_trains_on_what_evaluate_measures_on() -> None:
    measured = range(900_000_000, 1_000_000_000)
    for seed in range(20):
        run = range(first_number(seed, 0), first_number(seed, 50_000_000))
        assert run.stop <= measured.start or measured.stop <= run.start, seed
        assert run.stop <= first_number(seed + 1, 0)


def stage_of(*data: dict[str, Any], **changes: Any) -> StageRecipe:
    content = {"name": "x", "trains": ["tower"], "steps": 1, "batch_size": 4, "learning_rate": 1}
    return StageRecipe.model_validate(
        {**content, "loss": {"text": 1}, "data": list(data), **changes}
    )


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six dialogues of two tasks in two shards."""
    folder = tmp_path_factory.mktemp("curated")
    (folder / "data").mkdir()
    pictures = [folder / f"{side}.png" for side in (56, 140)]
    for path, side in zip(pictures, (56, 140), strict=True):
        Image.new("RGB", (side, side), (side, 9, 9)).save(path)
    for shard in range(2):
        samples = [
            ChatSample(
                key=f"{shard}-{number}",
                pair="p",
                source="s",
                category="c",
                split="train",
                task="caption" if number else "locate",
                template=pictures[0],
                query=pictures[shard],
                query_size=((56, 56), (140, 140))[shard],
                turns=(Turn("user", f"Task {number}?"), Turn("assistant", "Nothing. " * shard)),
                is_anomaly=False,
            )
            for number in range(3)
        ]
        write_shard(folder / "data" / shard_name("train", shard, 2), samples, embed=True)
    return folder


def test_a_source_of_generated_pairs_may_draw_some_surfaces_alone() -> None:
    named = {"kind": "synthetic", "surfaces": ["collage", "woven"]}
    (source,) = open_sources(stage_of(named), 0, 0)
    assert isinstance(source, PairSamples)
    drawn = [source.pair(number, size=112).category for number in range(4)]
    assert drawn == ["collage", "woven"] * 2


def test_a_source_of_generated_pairs_may_draw_so_many_defects() -> None:
    (source,) = open_sources(stage_of({"kind": "synthetic", "num_defects": [1, 2]}), 0, 0)
    assert isinstance(source, PairSamples)
    drawn = [len(source.pair(number, size=112).boxes) for number in range(24)]
    assert {*drawn} == {1, 2}


def test_stored_dialogues_are_sources_with_lengths_known_beforehand(curated: Path) -> None:
    limits = (28 * 28, 28 * 28 * 30)
    builder = sample_builder(tiny.tiny_config(), tiny.tiny_processor(), 56, limits=limits)
    stage = stage_of({"kind": "chat-ad", "path": str(curated), "tasks": ["caption"]})
    (source,) = open_sources(stage, 0, 0)
    assert source.size == 4
    lengths = [source.length(number, builder) for number in range(4)]
    # Two images of 4 or 25 cells and 6 comparison tokens each; a quarter of the characters.
    assert lengths == [2 * 10 + 1, 2 * 10 + 1, 2 * 31 + 4, 2 * 31 + 4]
    sample = source.sample(3, builder)
    assert sample.grid.tolist() == [[1, 4, 4], [1, 10, 10]]
    assert "Task 2?" in tiny.tiny_tokenizer().decode(sample.packed.ids)


def test_epochs_become_steps_by_the_size_of_the_first_source(curated: Path) -> None:
    data = [
        {"kind": "chat-ad", "path": str(curated), "count": 5},
        {"kind": "synthetic", "weight": 0.25, "tasks": ["verdict"]},
    ]
    stage = stage_of(*data, steps=0, epochs=2)
    sources = open_sources(stage, 0, 0)
    # 2 * 5 samples of the first source, 2.5 of the second, 4 a step.
    assert resolve_steps(stage, sources, 0).steps == 4
    assert resolve_steps(stage_of(*data), sources, 0).steps == 1
    endless = stage_of({"kind": "synthetic"}, steps=0, epochs=2)
    with pytest.raises(ConfigError, match="without end"):
        resolve_steps(endless, open_sources(endless, 0, 0), 0)


def test_a_set_without_such_dialogues_is_refused(curated: Path) -> None:
    with pytest.raises(DatasetError, match="no dialogue of the split train about choice"):
        open_sources(stage_of({"kind": "chat-ad", "path": str(curated), "tasks": ["choice"]}), 0, 0)
    with pytest.raises(ConfigError, match="no split 'test'"):
        open_sources(stage_of({"kind": "chat-ad", "path": str(curated), "split": "test"}), 0, 0)
