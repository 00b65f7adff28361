"""A curated set on disk: Parquet shards that ``datasets`` loads, and reading them for training.

Knows neither how samples are made nor how a model sees them. Reading needs pyarrow, no more::

    shards = read_shards("chat-ad", split="train")
    len(shards); shards[17]         # by number, also from several processes
    for stored in shards: ...       # in order, each row group read once
    stored.sample                   # the ChatSample
    stored.template_image()         # (H, W, 3) uint8 RGB, upright
    stored.query_image()

One row is one sample, so that ``datasets.load_dataset(DIR)`` shows pictures beside their dialogue
without a join. The pictures of a pair stand in each of its rows, but a row group stores every
picture once, as an entry of Parquet's dictionary: the files are as small as a table of pairs would
be. (The cache that ``load_dataset`` makes is not; ``streaming=True`` makes none.) Row groups are
small, so that a sample read by its number costs a few megabytes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.training.chat_ad.sample import ChatSample, Turn
from adcopilot_edge.types import BBox, ImageArray

DATA_FOLDER = "data"
_PICTURES = ["template.bytes", "query.bytes"]  # stay a dictionary in memory too
_NAME = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet")


def shard_name(split: str, number: int, count: int) -> str:
    """The file of shard ``number`` of ``count``, as the hub writes such names."""
    return f"{split}-{number:05d}-of-{count:05d}.parquet"


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample as it is stored.

    template, query: the files' bytes where they are stored, else None, and the sample has the
    paths. Where bytes are stored, the sample's paths are names and no files.
    """

    sample: ChatSample
    template: bytes | None
    query: bytes | None

    def template_image(self) -> ImageArray:
        """The template as (H, W, 3) uint8 RGB.

        Raises:
            InputError: It can't be read.
        """
        return open_image(self.template or self.sample.template)

    def query_image(self) -> ImageArray:
        """The query as (H, W, 3) uint8 RGB.

        Raises:
            InputError: It can't be read.
        """
        return open_image(self.query or self.sample.query)


def read_shards(folder: str | Path, *, split: str = "train") -> ShardSet:
    """Open a split of a curated set.

    Raises:
        DatasetError: The folder is no curated set, or a shard is missing or damaged.
        ConfigError: It has no such split.
    """
    found = find_shards(Path(folder))
    if split not in found:
        raise ConfigError(f"{folder} has no split {split!r}; it has: {', '.join(found)}")
    return ShardSet(found[split])


def find_shards(folder: Path) -> dict[str, list[Path]]:
    """The shards of each split, in order.

    Raises:
        DatasetError: There are none, or one is missing.
    """
    shards: dict[str, dict[int, Path]] = {}
    counts: dict[str, int] = {}
    for path in sorted((folder / DATA_FOLDER).glob("*.parquet")):
        if match := _NAME.fullmatch(path.name):
            shards.setdefault(match["split"], {})[int(match["number"])] = path
            counts[match["split"]] = int(match["count"])
    if not shards:
        raise DatasetError(
            f"{folder} holds no curated set: there is no {DATA_FOLDER}/SPLIT-NNNNN-of-NNNNN.parquet"
        )
    for split, numbered in shards.items():
        missing = set(range(counts[split])) - set(numbered)
        if missing or len(numbered) != counts[split]:
            name = shard_name(split, min(missing, default=0), counts[split])
            raise DatasetError(
                f"{folder / DATA_FOLDER} lacks {name}, or mixes two sets; copy the set again"
            )
    return {split: [numbered[at] for at in sorted(numbered)] for split, numbered in shards.items()}


class ShardSet(Sequence[StoredSample]):
    """The samples of a split by number. Keeps one row group; may be pickled and forked."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._groups = [
            (path, number, rows)
            for path in self.paths
            for number, rows in enumerate(_rows_of_groups(path))
        ]
        self._starts = [0, *accumulate(rows for _, _, rows in self._groups)]
        self._held: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> StoredSample: ...
    @overload
    def __getitem__(self, index: slice) -> list[StoredSample]: ...
    def __getitem__(self, index: int | slice) -> StoredSample | list[StoredSample]:
        """The sample of that number.

        Raises:
            IndexError: There are fewer.
            DatasetError: The shard is damaged.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        group = bisect_right(self._starts, number) - 1
        if self._held is None or self._held[0] != group:
            self._held = (group, _read_group(*self._groups[group][:2]))
        return _to_sample(self._held[1].slice(number - self._starts[group], 1).to_pylist()[0])

    def __iter__(self) -> Iterator[StoredSample]:
        return (self[number] for number in range(len(self)))


def _rows_of_groups(path: Path) -> list[int]:
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_metadata(path)
    except (OSError, pyarrow.ArrowException) as err:
        raise DatasetError(f"{path} is damaged: {err}; copy or curate the set again") from err
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def _read_group(path: Path, number: int) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path, read_dictionary=_PICTURES) as file:
            return file.read_row_group(number, use_threads=False)
    except (OSError, pyarrow.ArrowException) as err:
        raise DatasetError(f"{path} is damaged: {err}; copy or curate the set again") from err


def _to_sample(row: dict[str, Any]) -> StoredSample:
    template, query = row["template"], row["query"]
    sample = ChatSample(
        **{name: row[name] for name in ("key", "pair", "source", "category", "split", "task")},
        template=Path(template["path"]),
        query=Path(query["path"]),
        query_size=(row["query_size"][0], row["query_size"][1]),
        turns=tuple(Turn(message["role"], message["content"]) for message in row["messages"]),
        is_anomaly=row["is_anomaly"],
        bboxes=_boxes(row["bboxes"]),
        boxes=_boxes(row["boxes"]),
        labels=tuple(row["labels"]),
        choice=row["choice"],
        author=row["author"],
    )
    return StoredSample(sample, template["bytes"], query["bytes"])


def _boxes(rows: list[list[float]]) -> tuple[BBox, ...]:
    return tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in rows)
