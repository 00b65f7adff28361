"""A journal of an older release goes on; one of a newer release is refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib.resources import files

import pytest

from adcopilot_edge.errors import JournalError
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.journal_file import VERSION, open_journal


@pytest.fixture
def first(tmp_path):
    """A journal of the first version, with a part."""
    path = tmp_path / "journal.sqlite"
    schema = files("adcopilot_edge.runtime.daemon").joinpath("schema.sql").read_text()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{schema}\nPRAGMA user_version = 1;")
        connection.execute(
            "INSERT INTO parts (station, product, source, received_at, image_sha256)"
            " VALUES ('belt', 'cap', 'http', 0.0, '')"
        )
        connection.commit()
    return path


def test_an_older_one_keeps_what_it_has(first):
    journal = Journal(first)
    try:
        assert len(journal.open_parts()) == 1
        assert journal.next_id() == 2
        assert journal.read("SELECT * FROM shadow") == []
        assert journal.read("PRAGMA user_version") == [{"user_version": VERSION}]
    finally:
        journal.close()


def test_an_old_and_a_new_one_have_the_same_tables(first, tmp_path):
    tables = []
    for path in (first, tmp_path / "new.sqlite"):
        with closing(open_journal(path)) as connection:
            tables.append(
                [tuple(row) for row in connection.execute("SELECT sql FROM sqlite_master")]
            )
    assert tables[0] == tables[1]


def test_a_newer_one_is_refused(first):
    with closing(sqlite3.connect(first)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(JournalError, match=f"of version {VERSION + 1}, and this release reads"):
        open_journal(first)
