"""The journal: what is told as done is on the disk, in order, once; and a disk that fails."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest
from line_cases import SOON_S, wait_until

from adcopilot_edge.errors import JournalError
from adcopilot_edge.runtime.daemon.journal import Journal, interrupted_record
from adcopilot_edge.runtime.daemon.journal_file import connect
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part


@pytest.fixture
def journal(tmp_path):
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        yield journal


def accept(journal, number=None):
    number = number or journal.next_id()
    part = Part(image=b"", station="belt", product="cap", source="test")
    journal.accept(number, part, 1000.0 + number, "ab" * 32).result(SOON_S)
    return number


def final(number, **changes):
    fields = {
        "id": number,
        "station": "belt",
        "product": "cap",
        "source": "test",
        "reference": None,
        "received_at": 1000.0,
        "finished_at": 1001.0,
        "verdict": "normal",
        **changes,
    }
    return FinalRecord(**fields)


def test_the_first_final_record_stays(journal):
    number = accept(journal)
    assert journal.finish(final(number), ["mqtt"]).result(SOON_S) is True
    assert journal.finish(final(number, verdict="anomaly"), ["mqtt"]).result(SOON_S) is False
    assert journal.record(number)["verdict"] == "normal"
    assert journal.read("SELECT output, part FROM outbox") == [{"output": "mqtt", "part": number}]
    assert journal.finish(final(99)).result(SOON_S) is False


def test_changes_that_wait_share_a_commit_and_keep_their_order(journal):
    gate, seen, commits = threading.Event(), [], []
    journal.write(lambda c: c.set_trace_callback(commits.append)).result(SOON_S)
    journal.write(lambda c: gate.wait(SOON_S))
    written = [journal.write(lambda c, n=n: seen.append(n)) for n in range(40)]
    done = []
    for number, future in enumerate(written):
        future.add_done_callback(lambda _, number=number: done.append(number))
    gate.set()
    written[-1].result(SOON_S)
    wait_until(lambda: len(done) == 40)
    assert seen == done == list(range(40))
    assert commits.count("BEGIN IMMEDIATE") <= 2  # that of the gate, and one for all


def test_a_bad_change_takes_no_other_with_it_and_is_not_the_disks_fault(tmp_path):
    told = []
    with closing(Journal(tmp_path / "journal.sqlite", on_trouble=told.append)) as journal:
        gate = threading.Event()
        journal.write(lambda c: gate.wait(SOON_S))
        good = journal.set_fact("a", 1)
        bad = journal.write(lambda c: 1 / 0)
        twice = journal.write(lambda c: c.execute("INSERT INTO facts VALUES ('a', '2')"))
        after = journal.set_fact("b", 2)
        gate.set()
        assert isinstance(bad.exception(SOON_S), ZeroDivisionError)
        assert isinstance(twice.exception(SOON_S), sqlite3.IntegrityError)
        good.result(SOON_S)
        after.result(SOON_S)
        assert (journal.fact("a"), journal.fact("b"), told) == (1, 2, [])


def test_a_full_disk_is_told_and_found_out_to_be_over_by_itself(tmp_path):
    told = []
    limit = {"pages": 1_000_000}

    def limited(path):
        connection = connect(path)
        connection.execute(f"PRAGMA max_page_count = {limit['pages']}")
        return connection

    journal = Journal(tmp_path / "journal.sqlite", on_trouble=told.append, open_connection=limited)
    with closing(journal):
        limit["pages"] = 1  # SQLite takes what the file has
        journal.write(lambda c: c.execute("PRAGMA max_page_count = 1")).result(SOON_S)
        failed = journal.write(
            lambda c: c.execute("INSERT INTO facts VALUES ('big', ?)", ("x" * 100_000,))
        )
        with pytest.raises(JournalError, match="can't be written: database or disk is full"):
            failed.result(SOON_S)
        assert "full" in told[0]
        limit["pages"] = 1_000_000
        wait_until(lambda: told[-1] is None, "the end of the trouble")
        accept(journal)


def test_a_read_only_file_is_told(tmp_path):
    told = []
    with closing(Journal(tmp_path / "journal.sqlite", on_trouble=told.append)) as journal:
        journal.write(lambda c: c.execute("PRAGMA query_only = ON")).result(SOON_S)
        with pytest.raises(JournalError, match="attempt to write a readonly database"):
            accept(journal)
        wait_until(lambda: told[-1] is None, "the end of the trouble")  # on another connection


def test_a_journal_that_was_closed_says_so(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="is closed"):
        journal.set_fact("a", 1).result(SOON_S)


def test_what_waits_when_it_is_closed_is_written(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    futures = [journal.set_fact(f"f{n}", n) for n in range(300)]
    journal.close()
    assert all(future.done() for future in futures)
    with closing(Journal(tmp_path / "journal.sqlite")) as again:
        assert again.fact("f299") == 299


def test_numbers_are_never_used_again(tmp_path):
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        numbers = [accept(journal) for _ in range(3)]
        journal.finish(final(numbers[-1], finished_at=1.0)).result(SOON_S)
        assert journal.forget_before(2.0).result(SOON_S) == 1
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        assert journal.next_id() == 4
        assert [row["id"] for row in journal.open_parts()] == [1, 2]
        assert journal.newest_at_start == 1002.0


def test_parts_that_were_interrupted_are_uncertain(journal):
    number = accept(journal)
    (row,) = journal.open_parts()
    journal.finish(interrupted_record(row, 2000.0)).result(SOON_S)
    record = journal.record(number)
    assert (record["verdict"], record["reason"]) == ("uncertain", "interrupted")
    assert record["reject"]


def test_old_records_go_unless_an_output_waits_for_them(journal):
    numbers = [accept(journal) for _ in range(4)]
    for number, at in zip(numbers[:3], (1.0, 2.0, 9.0), strict=True):
        journal.finish(final(number, finished_at=at), ["mqtt"] if number == 2 else [])
    journal.write(
        lambda c: c.execute("INSERT INTO reviews (part, at, who, truth) VALUES (1, 1, 'x', 'bad')")
    )
    assert journal.forget_before(5.0).result(SOON_S) == 1
    assert [row["id"] for row in journal.read("SELECT id FROM parts ORDER BY id")] == [2, 3, 4]
    assert journal.read("SELECT * FROM reviews") == []


def test_a_record_does_not_name_an_image_that_is_gone(journal):
    number = accept(journal)
    name = f"000000/{number:09d}.png"
    journal.finish(final(number, image_file=name)).result(SOON_S)
    journal.forget_images([name, "000000/.000000002.png.tmp"]).result(SOON_S)
    assert journal.record(number)["image_file"] is None
    assert journal.read("SELECT image_file FROM parts") == [{"image_file": None}]


def test_the_log_beside_the_file_stays_small(journal):
    for number in range(40):
        futures = [journal.set_fact(f"f{number}-{n}", "x" * 20_000) for n in range(20)]
        futures[-1].result(SOON_S)
    log = journal.path.with_name(journal.path.name + "-wal")
    wait_until(lambda: log.stat().st_size <= 17 << 20, "the checkpoint")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"no database" * 200,
        lambda content: content[:5000] + b"\0" * (len(content) - 5000),
        lambda content: content[:4096] + bytes(reversed(content[4096:])),
    ],
    ids=["another file", "zeroed", "garbled"],
)
def test_a_damaged_journal_is_refused_with_what_to_do(tmp_path, damage):
    path = tmp_path / "journal.sqlite"
    with closing(Journal(path)) as journal:
        accept(journal)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(JournalError, match="Restore it from a copy, or move it away"):
        Journal(path)


def test_a_journal_of_another_version_is_left_alone(tmp_path):
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="is of version 99"):
        Journal(path)


def test_a_torn_log_loses_nothing_that_was_told(tmp_path):
    path = tmp_path / "journal.sqlite"
    copy = tmp_path / "copy" / "journal.sqlite"
    copy.parent.mkdir()
    with closing(Journal(path)) as journal:
        told = [accept(journal) for _ in range(20)]
        log = path.with_name(path.name + "-wal")
        copy.write_bytes(path.read_bytes())
        torn = log.read_bytes() + b"\x37" * 1234
        copy.with_name(copy.name + "-wal").write_bytes(torn)
    with closing(Journal(copy)) as journal:
        assert [row["id"] for row in journal.open_parts()] == told


def test_reading_does_not_wait_for_the_writer(journal):
    gate = threading.Event()
    journal.write(lambda c: gate.wait(SOON_S))
    began = time.monotonic()
    assert journal.read("SELECT * FROM parts") == []
    assert time.monotonic() - began < SOON_S
    gate.set()
