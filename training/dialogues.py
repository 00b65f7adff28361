"""Stored dialogues as samples: those of the wanted tasks, by number, with their lengths known.

Knows the columns of the shards and not how they are written.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.sample import SampleTask
from adcopilot_edge.training.chat_ad.shards import ShardSet, StoredSample, read_shards
from adcopilot_edge.types import IntArray

if TYPE_CHECKING:
    from adcopilot_edge.training.batch import Sample
    from adcopilot_edge.training.sample_builder import SampleBuilder

_CHARACTERS_A_TOKEN = 4


class DialogueSamples:
    """The dialogues of a curated set that ``tasks`` are about, at most ``count`` of them.

    is_drawn: ``count`` of all of them, always the same ones, in order; otherwise the first. A set
    lies category by category, so that its first ones tell of one product.
    """

    def __init__(
        self,
        shards: ShardSet,
        tasks: Sequence[str] | None = None,
        count: int | None = None,
        *,
        is_drawn: bool = False,
    ) -> None:
        self._shards = shards
        chosen = _choose(shards, tasks)
        if is_drawn and count is not None and count < len(chosen):
            chosen = chosen[sorted(random.Random(0).sample(range(len(chosen)), count))]
        self._chosen = chosen[:count]

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self._chosen)

    def sample(self, number: int, builder: SampleBuilder) -> Sample:
        """The dialogue with its images. Raises InputError for a picture that can't be read."""
        stored = self.stored(number)
        return builder.build_dialogue(stored.sample, stored.template_image(), stored.query_image())

    def stored(self, number: int) -> StoredSample:
        """The dialogue as it is stored."""
        return self._shards[int(self._chosen[number])]

    def task(self, number: int) -> SampleTask:
        """What the dialogue is about, without reading its images."""
        return self._tasks[int(self._chosen[number])]

    def length(self, number: int, builder: SampleBuilder) -> int:
        """The tokens of two images of the query's size, and a quarter of the characters."""
        place = int(self._chosen[number])
        width, height, characters = (column[place] for column in self._extents)
        return 2 * builder.image_tokens(width, height) + characters // _CHARACTERS_A_TOKEN

    @cached_property
    def _tasks(self) -> list[SampleTask]:
        return _column(self._shards, "task")

    @cached_property
    def _extents(self) -> tuple[list[int], list[int], list[int]]:
        """Width and height of every query and the characters of every dialogue, without images."""
        sizes = _column(self._shards, "query_size")
        turns = _column(self._shards, "messages")
        return (
            [size[0] for size in sizes],
            [size[1] for size in sizes],
            [sum(len(turn["content"]) for turn in dialogue) for dialogue in turns],
        )


def open_dialogues(
    folder: str,
    *,
    split: str,
    tasks: Sequence[str] | None,
    count: int | None,
    is_drawn: bool = False,
) -> DialogueSamples:
    """The dialogues in a folder that ``curate`` wrote; see ``DialogueSamples``.

    Raises:
        DatasetError: It holds no curated set, or none of its dialogues is about ``tasks``.
        ConfigError: It has no such split.
    """
    shards = read_shards(Path(folder), split=split)
    samples = DialogueSamples(shards, tasks, count, is_drawn=is_drawn)
    if not samples.size:
        raise DatasetError(
            f"{folder} has no dialogue of the split {split} about {', '.join(tasks or ())}"
        )
    return samples


def _choose(shards: ShardSet, tasks: Sequence[str] | None) -> IntArray:
    """The numbers of the dialogues about ``tasks``, in order."""
    if tasks is None:
        return np.arange(len(shards))
    return np.flatnonzero(np.isin(_column(shards, "task"), tasks))


def _column(shards: ShardSet, name: str) -> list[Any]:
    """A column of all shards, in order; no other is read. Raises DatasetError."""
    return [value for path in shards.paths for value in _column_of(path, name)]


def _column_of(path: Path, name: str) -> list[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        values: list[Any] = pyarrow.parquet.read_table(path, columns=[name])[name].to_pylist()
    except (OSError, pyarrow.ArrowException) as err:
        raise DatasetError(f"{path} is damaged: {err}; copy or curate the set again") from err
    return values
