"""``docs/station-file.md`` has every key of the station file, with its default, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from adcopilot_edge.record import Record
from adcopilot_edge.runtime.daemon.station_file import StationFile, read_station_file


def records_in(annotation: Any) -> list[type[Record]]:
    """The records that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return [annotation]
    return [found for inner in get_args(annotation) for found in records_in(inner)]


def keys_of(record: type[Record], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Table, key and default of every key that holds a value, not a table."""
    for name, field in record.model_fields.items():
        inner = records_in(field.annotation)
        for one in inner:
            yield from keys_of(one, f"{path}.{name}" if path else name)
        if not inner:
            default = "required"
            if not field.is_required():
                value = field.get_default(call_default_factory=True)
                shown = sorted(value) if isinstance(value, (set, frozenset)) else value
                default = "none" if value is None else f"`{json.dumps(shown, default=str)}`"
            yield path, name, default


@pytest.fixture(scope="module")
def document() -> str:
    root = Path(__file__).resolve().parents[1]
    return (root / "docs" / "station-file.md").read_text(encoding="utf-8")


def rows_of(document: str) -> Iterator[tuple[str, str, str]]:
    """Table, key and default of every row of the document."""
    for section in re.split(r"^## ", document, flags=re.MULTILINE)[1:]:
        heading = re.match(r"`\[+([a-z_.]+)\]+`", section)
        if heading is None:
            continue
        for line in section.splitlines():
            row = re.match(r"\| `([a-z_]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", line)
            if row is not None:
                yield heading[1], row[1], row[3].strip()


def test_the_document_has_every_key_with_its_default(document: str) -> None:
    assert sorted(set(rows_of(document))) == sorted(set(keys_of(StationFile)))


def test_lists_of_tables_have_two_brackets(document: str) -> None:
    for name, field in StationFile.model_fields.items():
        is_list = str(field.annotation).startswith("tuple")
        heading = f"## `[[{name}]]`" if is_list else f"## `[{name}]`"
        assert heading in document


def test_the_example_is_a_station_file(document: str, tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", document, re.DOTALL)
    path = tmp_path / "station.toml"
    path.write_text(example)
    settings = read_station_file(path)
    assert {product.name for product in settings.products} >= {settings.stations[0].product}


def test_what_changes_without_a_restart_is_named(document: str) -> None:
    from adcopilot_edge.runtime.daemon.reload import APPLIED

    section = document.split("## Reading it again")[1]
    for table in APPLIED:
        assert f"`{table}`" in section
