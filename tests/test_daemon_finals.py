"""A line whose journal does not write: no verdict that nobody can find, and nothing lost."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from line_cases import SOON_S, line_case, wait_until

from adcopilot_edge.errors import JournalError, NotReadyError
from adcopilot_edge.runtime.daemon.journal import Journal


def test_a_part_that_could_not_be_noted_gets_no_verdict(tmp_path):
    with line_case(tmp_path, restarts_per_hour=0) as case:
        gate = threading.Event()
        case.journal.write(lambda c: gate.wait(SOON_S))
        case.refuse_writes()
        waiting = [case.submit(), case.submit()]
        job = case.worker.job()  # of the first, which will be nobody's
        gate.set()
        for ticket in waiting:
            assert isinstance(ticket.done.exception(SOON_S), JournalError)
        with pytest.raises(NotReadyError, match="can't be written"):
            case.submit()
        case.worker.answer(job)
        case.is_read_only = False
        wait_until(lambda: case.alarms.stopping() is None, "the end of the alarm")
        ticket = case.submit()
        job = case.worker.job()
        case.worker.answer(job)
        assert case.end_of(ticket).id == job.number == 3
        assert case.line.counters.unrecorded == 2
        case.check_journal()


def test_a_verdict_that_could_not_be_written_is_not_told_and_the_part_is_uncertain(tmp_path):
    with line_case(tmp_path) as case:
        ticket = case.submit()
        job = case.worker.job()
        wait_until(lambda: len(case.journal.open_parts()) == 1)
        case.refuse_writes().result(SOON_S)
        case.worker.answer(job, "normal")
        assert isinstance(ticket.done.exception(SOON_S), JournalError)
        assert "can't be written" in case.alarms.stopping()
        case.is_read_only = False
        wait_until(lambda: case.journal.record(job.number) is not None, "the record")
        record = case.journal.record(job.number)
        assert (record["verdict"], record["reason"]) == ("uncertain", "journal_failed")
        assert record["anomaly_score"] is None
        wait_until(lambda: len(case.finals) == 1)
        case.check_journal()


def test_records_that_wait_for_the_disk_when_it_ends_are_interrupted_at_the_next_start(tmp_path):
    with line_case(tmp_path) as case:
        case.submit()
        job = case.worker.job()
        wait_until(lambda: len(case.journal.open_parts()) == 1)
        held, gate = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            gate.wait(SOON_S)

        refused = case.refuse_writes(hold)
        assert held.wait(SOON_S)
        case.worker.answer(job, "normal")
        case.line.drain(0.0)
        gate.set()
        refused.result(SOON_S)
        case.line.join()
        case.journal.close()
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        assert len(journal.open_parts()) + (journal.record(job.number) is not None) == 1
