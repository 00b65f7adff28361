"""``records export``: a journal as a table, also while a daemon writes it."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from datetime import datetime, timezone

import pytest
from outputs_bench import Bench, station_file

from adcopilot_edge.errors import ConfigError, JournalError, MissingExtraError
from adcopilot_edge.runtime.daemon.outputs.table import (
    COLUMNS,
    RecordFilter,
    export_records,
    parse_moment,
)


def moment(words):
    return parse_moment(words).timestamp()


@pytest.fixture
def state(tmp_path):
    """A journal that is open for writing, with four final parts and one that is not."""
    products = [{"name": "lid"}, {"name": "cap"}]
    settings = station_file(products=products, stations=("belt", "roof"))
    bench = Bench(tmp_path / "state", settings)
    bench.finish(received_at=moment("2026-01-30T12:00:00"), finished_at=moment("2026-01-30"))
    box = {"label": "scratch", "bbox_2d": [1, 2, 3, 4], "source": "text"}
    words = 'it says "a,b"\nand gr\u00fcn'
    bench.finish(
        received_at=moment("2026-01-31T00:00:00"),
        verdict="anomaly",
        score=0.75,
        defects=(box, box),
        text={"describe": words},
        reference="p-7",
    )
    bench.finish(received_at=moment("2026-01-31T12:00:00"), station="roof", product="cap")
    bench.finish(
        received_at=moment("2026-02-01T00:00:00"),
        verdict="uncertain",
        reason="takt_overrun",
        score=None,
    )
    add = bench.journal.write
    add(lambda c: c.execute("INSERT INTO reviews VALUES (1, 2, 0, 'op', 'bad')")).result()
    add(lambda c: c.execute("INSERT INTO reviews VALUES (2, 2, 1, 'op', 'good')")).result()
    part = "5, 'belt', 'lid', 'http', NULL, 0, 'x'"
    names = "id, station, product, source, reference, received_at, image_sha256"
    add(lambda c: c.execute(f"INSERT INTO parts ({names}) VALUES ({part})")).result()
    yield bench.folder
    bench.close()


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_table_has_a_row_for_each_final_part(state, tmp_path):
    out = tmp_path / "parts.csv"
    assert export_records(state, out, RecordFilter()) == 4

    rows = read(out)
    assert tuple(rows[0]) == COLUMNS
    assert [row["id"] for row in rows] == ["1", "2", "3", "4"]
    second = rows[1]
    assert second["received_at"] == "2026-01-31T00:00:00.000Z"
    assert (second["verdict"], second["reject"], second["truth"]) == ("anomaly", "True", "good")
    assert (second["anomaly_score"], second["num_defects"]) == ("0.75", "2")
    assert json.loads(second["defects"])[0]["bbox_2d"] == [1, 2, 3, 4]
    assert json.loads(second["text"]) == {"describe": 'it says "a,b"\nand gr\u00fcn'}
    assert (rows[3]["anomaly_score"], rows[3]["reason"]) == ("", "takt_overrun")


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ({"since": "2026-01-31"}, ["2", "3", "4"]),
        ({"until": "2026-01-31"}, ["1"]),
        ({"since": "2026-01-31", "until": "2026-02-01"}, ["2", "3"]),
        ({"since": "2026-01-31T13:00:00+01:00"}, ["3", "4"]),
        ({"station": "roof"}, ["3"]),
        ({"product": "lid"}, ["1", "2", "4"]),
        ({"verdict": "normal"}, ["1", "3"]),
        ({"product": "lid", "verdict": "normal", "since": "2026-01-31"}, []),
        ({"station": "x' OR '1'='1"}, []),
    ],
)
def test_parts_are_chosen(state, tmp_path, cli, values, ids):
    words = [item for name, value in values.items() for item in (f"--{name}", value)]
    code, out, _ = cli("records", "export", state, "--out", tmp_path / "t.csv", *words, "--json")

    assert code == 0
    assert json.loads(out) == {"out": str(tmp_path / "t.csv"), "records": len(ids)}
    assert [row["id"] for row in read(tmp_path / "t.csv")] == ids


def test_parquet_has_types(state, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "parts.parquet"
    assert export_records(state, out, RecordFilter()) == 4

    table = parquet.read_table(out)
    assert tuple(table.column_names) == COLUMNS
    rows = table.to_pylist()
    assert rows[1]["received_at"] == datetime(2026, 1, 31, tzinfo=timezone.utc)
    assert (rows[1]["anomaly_score"], rows[1]["reject"], rows[1]["num_defects"]) == (0.75, True, 2)
    assert rows[3]["anomaly_score"] is None
    export_records(state, tmp_path / "none.parquet", RecordFilter(station="x"))
    assert parquet.read_table(tmp_path / "none.parquet").num_rows == 0


def test_without_pyarrow_parquet_names_the_extra(state, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"adcopilot-edge\[parquet\]"):
        export_records(state, tmp_path / "parts.parquet", RecordFilter())
    assert not (tmp_path / "parts.parquet").exists()
    assert export_records(state, tmp_path / "parts.csv", RecordFilter()) == 4


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--out", "parts.xlsx"], 2, "ends with .csv or .parquet"),
        (["--out", "missing/parts.csv"], 2, "can't be written: No such file"),
        (["--out", "parts.csv", "--since", "yesterday"], 2, "'yesterday' is no moment"),
    ],
)
def test_what_is_wrong_is_told(state, tmp_path, cli, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    got, out, _ = cli("records", "export", state, *words, "--json")
    assert got == code
    assert message in json.loads(out)["error"]["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_what_is_no_journal_is_refused(tmp_path):
    out = tmp_path / "parts.csv"
    with pytest.raises(JournalError, match="is not there; give the state folder"):
        export_records(tmp_path, out, RecordFilter())
    (tmp_path / "journal.sqlite").write_bytes(b"no journal at all" * 100)
    with pytest.raises(JournalError, match="can't be read"):
        export_records(tmp_path, out, RecordFilter())
    (tmp_path / "journal.sqlite").unlink()
    with sqlite3.connect(tmp_path / "journal.sqlite") as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(JournalError, match="is of version 99"):
        export_records(tmp_path, out, RecordFilter())
    assert not out.exists()


def test_a_moment_without_a_zone_is_utc():
    assert parse_moment("2026-01-31") == datetime(2026, 1, 31, tzinfo=timezone.utc)
    assert parse_moment("2026-01-31T12:00:00Z").hour == 12
    with pytest.raises(ConfigError, match="is no moment"):
        parse_moment("31.1.2026")
