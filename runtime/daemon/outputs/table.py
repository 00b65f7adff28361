"""The records of a journal as a table, CSV or Parquet; also while a daemon writes the journal."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import ConfigError, JournalError, MissingExtraError
from adcopilot_edge.runtime.daemon.journal_file import VERSION
from adcopilot_edge.types import Verdict

if TYPE_CHECKING:
    import pyarrow as pa

_AT_ONCE = 5000
_BUSY_S = 5.0
_MOMENTS = ("received_at", "finished_at")
_NUMBERS = ("anomaly_score", "threshold")
_OBJECTS = ("defects", "text", "timings_ms", "notes")
# One column each; those of _OBJECTS hold JSON, ``truth`` what people said last: good, bad or none.
COLUMNS = (
    *("id", "station", "product", "source", "reference", "received_at", "finished_at"),
    *("verdict", "reject", "reason", "detail", "anomaly_score", "threshold", "num_defects"),
    *("truth", "path", "bundle", "engine", "image_sha256", "golden_sha256", "image_file"),
    *("defects", "text", "timings_ms", "notes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """Which records. since, until: when the part came, the first included and the last not."""

    since: datetime | None = None
    until: datetime | None = None
    station: str | None = None
    product: str | None = None
    verdict: Verdict | None = None

    def condition(self) -> tuple[str, list[Any]]:
        """SQL and its values."""
        asked = (
            ("received_at >= ?", None if self.since is None else self.since.timestamp()),
            ("received_at < ?", None if self.until is None else self.until.timestamp()),
            ("station = ?", self.station),
            ("product = ?", self.product),
            ("verdict = ?", self.verdict),
        )
        given = [(words, value) for words, value in asked if value is not None]
        words = " AND ".join(["verdict IS NOT NULL", *(words for words, _ in given)])
        return words, [value for _, value in given]


def parse_moment(text: str) -> datetime:
    """A day or a moment of ISO 8601; UTC where it names no zone. Raises ConfigError."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as err:
        raise ConfigError(
            f"{text!r} is no moment; write 2026-01-31, or 2026-01-31T12:00:00+01:00"
        ) from err
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def export_records(state: Path, out: Path, which: RecordFilter) -> int:
    """Write the records of a state folder to ``out``, whole or not at all; how many they were.

    Raises:
        ConfigError: ``out`` ends with neither .csv nor .parquet, or it can't be written.
        JournalError: There is no journal, or it can't be read.
        MissingExtraError: Parquet needs a package that is not installed.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    write = writers.get(out.suffix.lower())
    if write is None:
        raise ConfigError(f"{out}: a table ends with .csv or .parquet")
    if write is _write_parquet:
        _pyarrow()
    try:
        with closing(_open(state / "journal.sqlite")) as connection, atomic_write(out) as file:
            return write(file, _rows(connection, which))
    except sqlite3.Error as err:
        raise JournalError(f"{state / 'journal.sqlite'} can't be read: {err}") from err
    except OSError as err:
        raise ConfigError(f"{out} can't be written: {err.strerror or err}") from err


def _open(path: Path) -> sqlite3.Connection:
    """Open a journal that is only read. Raises JournalError."""
    if not path.is_file():
        raise JournalError(f"{path} is not there; give the state folder of a daemon")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
    connection.row_factory = sqlite3.Row
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        connection.close()
        raise JournalError(f"{path} is of version {version}, and this release reads {VERSION}")
    return connection


def _rows(connection: sqlite3.Connection, which: RecordFilter) -> Iterator[dict[str, Any]]:
    """The records in order of parts, one at a time."""
    words, values = which.condition()
    found = connection.execute(
        "SELECT record, (SELECT truth FROM reviews WHERE reviews.part = parts.id"
        f" ORDER BY reviews.id DESC LIMIT 1) AS truth FROM parts WHERE {words} ORDER BY id",
        values,
    )
    for record, truth in found:
        known = json.loads(record)
        known |= {"truth": truth, "num_defects": len(known.get("defects") or ())}
        for name in _OBJECTS:
            known[name] = json.dumps(known.get(name), ensure_ascii=False)
        yield {name: known.get(name) for name in COLUMNS}


def _write_csv(file: BinaryIO, rows: Iterator[dict[str, Any]]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    text.flush()
    text.detach()
    return count


def _write_parquet(file: BinaryIO, rows: Iterator[dict[str, Any]]) -> int:
    pa = _pyarrow()
    import pyarrow.parquet

    schema = _schema(pa)
    count = 0
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while batch := list(islice(rows, _AT_ONCE)):
            for row in batch:
                for name in _MOMENTS:
                    row[name] = parse_moment(row[name])
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def _schema(pa: Any) -> pa.Schema:
    kinds: dict[str, Any] = {"id": pa.int64(), "num_defects": pa.int32(), "reject": pa.bool_()}
    kinds |= dict.fromkeys(_MOMENTS, pa.timestamp("ms", tz="UTC"))
    kinds |= dict.fromkeys(_NUMBERS, pa.float64())
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as err:
        raise MissingExtraError(
            feature="a table in Parquet", extra="parquet", package="pyarrow"
        ) from err
    return pyarrow
