"""Records of a curation's steps as lines of JSON files, each file whole or not there at all.

Knows no step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import DatasetError

T = TypeVar("T")


def write_records(path: Path, records: Iterable[Any]) -> int:
    """Write dataclasses, one a line; returns how many.

    Raises:
        OSError: The folder can't be written.
    """
    count = 0
    with atomic_write(path) as file:
        for record in records:
            file.write(_adapter(record.__class__).dump_json(record) + b"\n")
            count += 1
    return count


def read_records(path: Path, kind: type[T]) -> Iterator[T]:
    """The records of a file, checked one by one.

    Raises:
        DatasetError: The file is missing, or a line is none of ``kind``.
    """
    form: Any = kind
    try:
        with path.open("rb") as file:
            yield from map(_adapter(form).validate_json, file)
    except (OSError, ValidationError) as err:
        raise DatasetError(
            f"{path} can't be read ({type(err).__name__}); remove the folder of the unfinished "
            "run and start again"
        ) from err


def cut(records: Sequence[T], size: int) -> list[Sequence[T]]:
    """The records in runs of ``size``, the last one shorter."""
    return [records[start : start + size] for start in range(0, len(records), size)]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
