"""Samples written as Parquet shards, with their pictures or with the paths of these.

Knows no reader but for the names of files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.sample import ChatSample

# A row group ends with a pair, as soon as it holds as many bytes of different pictures or as many
# rows; inside a pair only where its repeated pictures would take too much memory to be written.
_GROUP_BYTES = 8_000_000
_GROUP_ROWS = 128
_GROUP_MEMORY = 256_000_000
# Larger than any row group: a column that outgrew its dictionary would store every repetition.
_DICTIONARY_BYTES = 1 << 30

Row = dict[str, Any]


def features() -> Any:
    """The columns as ``datasets`` types."""
    from datasets import Features, Image, List, Value

    box = List(Value("float64"), length=4)
    strings = {
        name: Value("string") for name in ("key", "pair", "source", "category", "split", "task")
    }
    return Features(
        {
            **strings,
            "template": Image(),
            "query": Image(),
            "query_size": List(Value("int32"), length=2),
            "messages": List({"role": Value("string"), "content": Value("string")}),
            "bboxes": List(box),
            "boxes": List(box),
            "labels": List(Value("string")),
            "is_anomaly": Value("bool"),
            "choice": Value("string"),
            "author": Value("string"),
        }
    )


def write_shard(path: Path, samples: Iterable[ChatSample], *, embed: bool) -> None:
    """Write one shard; the same samples give the same bytes.

    Args:
        path: Of the file; it is whole or not there.
        samples: Those of a pair one behind the other, or its pictures are stored again.
        embed: Store the pictures; otherwise their absolute paths.

    Raises:
        DatasetError: A picture can't be read.
        OSError: The file can't be written.
    """
    import pyarrow
    import pyarrow.parquet

    schema = features().arrow_schema
    with (
        atomic_write(path) as file,
        pyarrow.parquet.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=1,
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
        ) as writer,
    ):
        for rows in _groups(_rows(samples, embed=embed)):
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def read_picture(path: Path) -> bytes:
    """The bytes of a picture's file.

    Raises:
        DatasetError: It can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as err:
        raise DatasetError(f"{path} can't be read: {err}; restore it and start again") from err


def _rows(samples: Iterable[ChatSample], *, embed: bool) -> Iterator[Row]:
    held: dict[Path, bytes] = {}
    for sample in samples:
        paths = (sample.template, sample.query)
        if embed:
            held = {path: held[path] if path in held else read_picture(path) for path in paths}
        yield _row(sample, held)


def _row(sample: ChatSample, held: dict[Path, bytes]) -> Row:
    """The columns of a sample."""

    def picture(path: Path) -> dict[str, Any]:
        if path in held:
            return {"bytes": held[path], "path": path.name}
        return {"bytes": None, "path": str(path.absolute())}

    return {
        **{
            name: getattr(sample, name)
            for name in ("key", "pair", "source", "category", "split", "task")
        },
        "template": picture(sample.template),
        "query": picture(sample.query),
        "query_size": sample.query_size,
        "messages": [{"role": turn.role, "content": turn.text} for turn in sample.turns],
        "bboxes": sample.bboxes,
        "boxes": sample.boxes,
        "labels": sample.labels,
        "is_anomaly": sample.is_anomaly,
        "choice": sample.choice,
        "author": sample.author,
    }


def _groups(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    """The rows in row groups."""
    group: list[Row] = []
    different: set[int] = set()
    size = memory = 0
    for row in rows:
        pictures = [row[name]["bytes"] or b"" for name in ("template", "query")]
        is_full = size >= _GROUP_BYTES or len(group) >= _GROUP_ROWS
        is_next = bool(group) and row["pair"] != group[-1]["pair"]
        if (is_full and is_next) or memory >= _GROUP_MEMORY:
            yield group
            group, different = [], set()
            size = memory = 0
        group.append(row)
        for picture in pictures:
            size += 0 if id(picture) in different else len(picture)
            different.add(id(picture))
            memory += len(picture)
    if group:
        yield group
