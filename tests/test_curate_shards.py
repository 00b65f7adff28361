"""Shards on disk: what goes in comes out, by number and in order, and ``datasets`` loads it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curation import draw_part, sample, write_pictures
from PIL import Image

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.training.chat_ad.sample import ChatSample
from adcopilot_edge.training.chat_ad.shard_writer import write_shard
from adcopilot_edge.training.chat_ad.shards import DATA_FOLDER, find_shards, read_shards, shard_name


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


def write(
    folder: Path, *shards: list[ChatSample], split: str = "train", embed: bool = True
) -> Path:
    (folder / DATA_FOLDER).mkdir(parents=True, exist_ok=True)
    for number, samples in enumerate(shards):
        path = folder / DATA_FOLDER / shard_name(split, number, len(shards))
        write_shard(path, samples, embed=embed)
    return folder


def some_samples(pictures: Path) -> list[ChatSample]:
    return [
        sample(0, folder=pictures),
        sample(0, folder=pictures, task="choice", choice="B"),
        sample(0, folder=pictures, name="b", is_anomaly=False, task="caption"),
    ]


def named(one: ChatSample) -> ChatSample:
    """The sample as it is stored with its pictures: their names instead of paths."""
    return replace(one, template=Path(one.template.name), query=Path(one.query.name))


def test_samples_come_back_with_their_pictures(tmp_path: Path, pictures: Path) -> None:
    samples = some_samples(pictures)
    shards = read_shards(write(tmp_path / "set", samples[:2], samples[2:]))
    assert len(shards) == 3
    assert [stored.sample for stored in shards] == list(map(named, samples))
    assert shards[-1].sample.key == samples[2].key
    assert [stored.sample.key for stored in shards[1:]] == [one.key for one in samples[1:]]
    assert np.array_equal(shards[2].template_image(), draw_part(0))
    assert np.array_equal(shards[2].query_image(), draw_part(2))
    with pytest.raises(IndexError):
        shards[3]


def test_without_pictures_the_paths_are_stored(tmp_path: Path, pictures: Path) -> None:
    samples = some_samples(pictures)
    shards = read_shards(write(tmp_path / "set", samples, embed=False))
    assert [stored.sample for stored in shards] == samples
    assert shards[0].query is None
    assert np.array_equal(shards[0].query_image(), draw_part(1))


def test_a_set_may_go_to_other_processes(tmp_path: Path, pictures: Path) -> None:
    shards = read_shards(write(tmp_path / "set", some_samples(pictures)))
    _ = shards[0]
    again = pickle.loads(pickle.dumps(shards))
    assert again[1].sample == shards[1].sample


def test_a_picture_is_stored_once_for_all_samples_of_its_pair(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    for name in ("template", "a"):
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    size = (tmp_path / "a.png").stat().st_size
    one, many = tmp_path / "one.parquet", tmp_path / "many.parquet"
    write_shard(one, [sample(0, folder=tmp_path)], embed=True)
    write_shard(many, [sample(number, folder=tmp_path) for number in range(30)], embed=True)
    assert many.stat().st_size < one.stat().st_size + size / 10


def test_pairs_are_not_split_between_row_groups(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet

    from adcopilot_edge.training.chat_ad import shard_writer

    monkeypatch.setattr(shard_writer, "_GROUP_ROWS", 2)
    samples = [sample(n, folder=pictures, name=name) for name in "ab" for n in range(3)]
    folder = write(tmp_path / "set", samples)
    metadata = pyarrow.parquet.read_metadata(folder / DATA_FOLDER / shard_name("train", 0, 1))
    rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert rows == [3, 3]
    shards = read_shards(folder)
    assert [shards[number].sample.key for number in (5, 0, 3)] == [
        samples[number].key for number in (5, 0, 3)
    ]


def test_equal_samples_give_equal_bytes(tmp_path: Path, pictures: Path) -> None:
    paths = [tmp_path / name for name in ("one.parquet", "two.parquet")]
    for path in paths:
        write_shard(path, some_samples(pictures), embed=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("embed", [True, False])
def test_datasets_loads_a_set_and_decodes_its_pictures(
    tmp_path: Path, pictures: Path, embed: bool
) -> None:
    import datasets

    folder = write(tmp_path / "set", some_samples(pictures), embed=embed)
    write(folder, some_samples(pictures)[2:], split="validation", embed=embed)
    loaded: Any = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 3, "validation": 1}
    row = loaded["train"][1]
    assert np.array_equal(np.asarray(row["query"]), draw_part(1))
    assert row["messages"][0] == {"role": "user", "content": "Where?"}
    assert (row["choice"], row["labels"], row["is_anomaly"]) == ("B", ["dent"], True)
    assert loaded["validation"][0]["boxes"] == []


def test_a_missing_picture_is_an_error_and_leaves_no_shard(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    with pytest.raises(DatasetError, match=r"template\.png can't be read"):
        write_shard(path, [sample(folder=tmp_path)], embed=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_shards_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no curated set"):
        read_shards(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path, pictures: Path) -> None:
    samples = some_samples(pictures)
    folder = write(tmp_path / "set", samples[:1], samples[1:])
    (folder / DATA_FOLDER / shard_name("train", 0, 2)).unlink()
    with pytest.raises(DatasetError, match="lacks train-00000-of-00002"):
        find_shards(folder)


def test_a_split_that_is_not_there_lists_those_that_are(tmp_path: Path, pictures: Path) -> None:
    folder = write(tmp_path / "set", some_samples(pictures))
    with pytest.raises(ConfigError, match="no split 'test'; it has: train"):
        read_shards(folder, split="test")


@pytest.mark.parametrize("keep", [0, 100])
def test_a_damaged_shard_is_named(tmp_path: Path, pictures: Path, keep: int) -> None:
    folder = write(tmp_path / "set", some_samples(pictures))
    path = folder / DATA_FOLDER / shard_name("train", 0, 1)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DatasetError, match=r"train-00000-of-00001\.parquet is damaged"):
        read_shards(folder)
