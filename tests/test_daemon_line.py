"""The line with a worker that the test plays: parts, their time, and the queue."""

from __future__ import annotations

import time

import pytest
from line_cases import SOON_S, line_case, wait_until

from adcopilot_edge.errors import NotReadyError, QueueFullError
from adcopilot_edge.runtime.daemon.messages import Done, Told
from adcopilot_edge.runtime.daemon.part import FinalRecord
from adcopilot_edge.runtime.stream import VerdictEvent


def test_parts_are_ended_in_the_order_of_their_acceptance(tmp_path):
    with line_case(tmp_path) as case:
        tickets = [case.submit() for _ in range(3)]
        for verdict in ("normal", "anomaly", "uncertain"):
            case.worker.answer(case.worker.job(), verdict)
        records = [case.end_of(ticket) for ticket in tickets]
        assert [record.verdict for record in records] == ["normal", "anomaly", "uncertain"]
        assert [record.id for record in records] == [1, 2, 3]
        assert case.journal.record(2) == records[1].to_json()
        case.check_journal()


def test_no_part_is_taken_before_the_worker_is_ready(tmp_path):
    with line_case(tmp_path, is_ready=False) as case:
        with pytest.raises(NotReadyError, match="checking, ready in about") as caught:
            case.submit()
        assert caught.value.retry_after_s > 0
        case.be_ready()
        case.submit()
        assert case.line.counters.refused_not_ready == 1


def test_a_full_queue_refuses_and_says_when_to_come_again(tmp_path):
    with line_case(tmp_path, queue_size=2) as case:
        case.submit()
        case.worker.job()
        for _ in range(2):
            case.submit()
        with pytest.raises(QueueFullError, match="2 parts wait already") as caught:
            case.submit()
        assert caught.value.retry_after_s > 0
        assert (case.line.queued, case.line.counters.refused_full) == (3, 1)
    case.check_journal()


def test_a_part_whose_takt_would_end_in_the_queue_is_not_accepted(tmp_path):
    with line_case(tmp_path, queue_size=100) as case:
        case.line.pace.learn(1.0)
        case.submit(takt_ms=900.0)  # nobody is ahead of it, and it may be quicker than those before
        case.worker.job()
        case.submit(takt_ms=60_000.0)
        with pytest.raises(QueueFullError, match="2 parts are ahead, and the takt of 2500 ms"):
            case.submit(takt_ms=2500.0)
        case.submit()


def test_uneven_inspections_leave_more_room(tmp_path):
    with line_case(tmp_path, queue_size=100) as case:
        for seconds in (1.0, *(0.5, 1.5) * 20):
            case.line.pace.learn(seconds)
        case.submit()
        case.worker.job()
        mean_ms = 2 * 1000 * case.line.pace.expected_s()
        with pytest.raises(QueueFullError, match="1 parts are ahead"):
            case.submit(takt_ms=mean_ms + 500.0)
        case.submit(takt_ms=2 * mean_ms + 1000.0)


def test_a_part_ends_when_its_takt_ends_in_the_queue(tmp_path):
    with line_case(tmp_path) as case:
        first = case.submit()
        job = case.worker.job()
        case.line.pace.learn(0.001)
        record = case.end_of(case.submit(takt_ms=60.0))
        assert (record.verdict, record.reason) == ("uncertain", "takt_overrun")
        assert record.detail == "the takt ended in the queue"
        case.worker.answer(job)
        assert case.end_of(first).verdict == "normal"
        case.check_journal()


def test_a_part_ends_when_its_takt_ends_amid_the_inspection_and_the_result_is_late(tmp_path):
    with line_case(tmp_path) as case:
        ticket = case.submit(takt_ms=60.0)
        job = case.worker.job()
        assert 1 <= job.takt_ms <= 60
        record = case.end_of(ticket)
        assert (record.verdict, record.reason) == ("uncertain", "takt_overrun")
        assert record.detail == "the takt ended during the inspection"
        assert record.timings_ms["part"] < 1000 * SOON_S
        next_one = case.submit()  # waits for the worker, whose inspection goes on
        case.worker.answer(job, "anomaly")
        case.worker.answer(case.worker.job())
        assert case.end_of(next_one).verdict == "normal"
        assert case.line.counters.late == 1
        case.check_journal()


def test_an_answer_comes_before_the_takt_ends_not_after(tmp_path):
    with line_case(tmp_path) as case:
        for _ in range(30):
            case.line.pace.learn_record(0.02)
        ticket = case.submit(takt_ms=1000.0)
        assert 0.95 < ticket.deadline - ticket.accepted < 0.99
        short = case.line.pace.time_for(10.0)
        assert short == pytest.approx(0.007)


@pytest.mark.parametrize(
    ("is_image_fault", "reason"), [(True, "image_unusable"), (False, "inspection_failed")]
)
def test_a_part_that_can_not_be_inspected_is_uncertain_and_says_why(
    tmp_path, is_image_fault, reason
):
    with line_case(tmp_path) as case:
        ticket = case.submit()
        case.worker.say(
            Done(number=case.worker.job().number, problem="no", is_image_fault=is_image_fault)
        )
        record = case.end_of(ticket)
        assert (record.verdict, record.reason, record.detail) == ("uncertain", reason, "no")


def test_a_listener_that_fails_does_not_stop_the_line(tmp_path):
    with line_case(tmp_path) as case:
        ticket = case.submit()
        ticket.on_event = lambda event: 1 / 0
        job = case.worker.job()
        event = VerdictEvent(verdict="normal", anomaly_score=0.25)
        case.worker.say(Told(number=job.number, event=event))
        case.worker.answer(job)
        assert case.end_of(ticket).verdict == "normal"


def test_who_stops_waiting_does_not_stop_the_part(tmp_path):
    with line_case(tmp_path) as case:
        ticket = case.submit()
        assert not ticket.done.cancel()
        case.worker.answer(case.worker.job())
        assert case.end_of(ticket).verdict == "normal"
        wait_until(lambda: len(case.finals) == 1)


def test_verdicts_do_not_depend_on_the_wall_clock(tmp_path, monkeypatch):
    with line_case(tmp_path) as case:
        before = time.time()
        monkeypatch.setattr(time, "time", lambda: before - 86_400.0)
        ticket = case.submit(takt_ms=60_000.0)
        monkeypatch.setattr(time, "time", lambda: before + 86_400.0)
        case.worker.answer(case.worker.job())
        record = case.end_of(ticket)
        assert record.verdict == "normal"
        assert record.received_at == before - 86_400.0
        assert 0 <= record.finished_at - record.received_at < SOON_S


def test_a_line_that_fails_ends_as_failed_with_every_part_ended(tmp_path):
    class Broken:
        def keep(self, record: FinalRecord, image: bytes, *rest: object) -> str | None:
            if record.verdict == "anomaly":
                raise RuntimeError("no images today")
            return None

    with line_case(tmp_path, images=Broken()) as case:
        tickets = [case.submit() for _ in range(3)]
        case.worker.answer(case.worker.job(), "anomaly")
        wait_until(lambda: case.life.state == "failed")
        case.line.join()
        assert case.line.exit_code == 7
        assert "RuntimeError: no images today" in case.life.reason
        for ticket in tickets[1:]:
            assert case.end_of(ticket).reason == "inspection_failed"
        assert tickets[0].done.exception(SOON_S) is not None
