"""The line when its worker hangs, dies, or is given other products; and the line's end."""

from __future__ import annotations

import errno
import time

import pytest
from line_cases import SOON_S, line_case, wait_until

from adcopilot_edge.errors import NotReadyError
from adcopilot_edge.runtime.daemon.messages import (
    NewProducts,
    ProductSetup,
    ProductsTaken,
    Ready,
    Refused,
)

NEW = NewProducts(products={"lid": ProductSetup(goldens=())})


def test_a_stuck_inspection_is_ended_its_part_marked_and_the_worker_started_anew(tmp_path):
    with line_case(tmp_path, stuck_after_s=0.05) as case:
        stuck, next_one = case.submit(), case.submit()
        case.worker.job()
        record = case.end_of(stuck)
        assert (record.verdict, record.reason) == ("uncertain", "worker_stuck")
        assert record.detail == "the inspection took more than 0.05 s"
        wait_until(lambda: case.life.state == "loading")
        with pytest.raises(NotReadyError):
            case.submit()
        case.be_ready(starts=2)
        case.worker.answer(case.worker.job())
        assert case.end_of(next_one).verdict == "normal"
        assert (case.line.counters.restarts, case.worker.stops) == (1, ["kill"])
        case.check_journal()


def test_also_an_inspection_of_a_part_that_is_over_is_ended_when_it_hangs(tmp_path):
    with line_case(tmp_path, stuck_after_s=0.2) as case:
        record = case.end_of(case.submit(takt_ms=60.0))
        assert record.reason == "takt_overrun"
        case.be_ready(starts=2)
        case.check_journal()


def test_a_worker_that_hangs_too_often_ends_the_daemon(tmp_path):
    with line_case(tmp_path, stuck_after_s=0.05, restarts_per_hour=1) as case:
        first, second, waiting = (case.submit() for _ in range(3))
        case.end_of(first)
        case.be_ready(starts=2)
        assert case.end_of(second).reason == "worker_stuck"
        record = case.end_of(waiting)
        assert (record.reason, case.life.state) == ("inspection_failed", "failed")
        case.line.join()
        assert case.line.exit_code == 7
        assert case.life.reason.endswith("and it was started anew 1 times within an hour before")
        case.check_journal()


def test_a_worker_that_dies_with_a_part_loses_nothing(tmp_path):
    with line_case(tmp_path) as case:
        ticket = case.submit()
        case.worker.job()
        case.worker.there.close()
        assert case.end_of(ticket).reason == "worker_died"
        case.be_ready(starts=2)
        case.check_journal()


def test_a_worker_that_dies_idle_or_starting_is_started_anew(tmp_path):
    with line_case(tmp_path, is_ready=False, restarts_per_hour=2) as case:
        wait_until(lambda: case.worker.starts == 1)
        case.worker.there.close()
        case.be_ready(starts=2)
        case.worker.there.close()
        case.be_ready(starts=3)
        assert case.line.counters.restarts == 2


def test_a_worker_that_refuses_ends_the_daemon_with_its_exit_code(tmp_path):
    with line_case(tmp_path, is_ready=False) as case:
        wait_until(lambda: case.worker.starts == 1)
        case.worker.say(Refused(message="no such bundle", exit_code=3))
        wait_until(lambda: case.life.state == "failed")
        assert (case.line.exit_code, case.life.reason) == (3, "no such bundle")


def test_a_process_that_can_not_be_started_ends_the_daemon(tmp_path):
    with line_case(tmp_path, restarts_per_hour=1) as case:
        case.worker.start_error = OSError(errno.EAGAIN, "Resource temporarily unavailable")
        case.worker.there.close()
        wait_until(lambda: case.life.state == "failed")
        assert "no process can be started: Resource temporarily unavailable" in case.life.reason
        assert case.line.exit_code == 7


def test_products_change_between_two_parts(tmp_path):
    with line_case(tmp_path) as case:
        ticket = case.submit()
        job = case.worker.job()
        done = case.line.use_products(NEW)
        later = case.submit()
        case.worker.answer(job)
        assert case.worker.said() == NEW
        assert case.worker.setup.products == {}
        case.worker.say(ProductsTaken())
        assert done.result(SOON_S) is None
        assert case.worker.setup.products == NEW.products
        case.worker.answer(case.worker.job())
        assert case.end_of(ticket).verdict == case.end_of(later).verdict == "normal"


def test_products_that_were_not_taken_are_not_given_to_the_next_worker(tmp_path):
    with line_case(tmp_path) as case:
        done = case.line.use_products(NEW)
        case.worker.said()
        case.worker.say(ProductsTaken(problem="no golden"))
        assert done.result(SOON_S) == "no golden"
        assert case.worker.setup.products == {}


def test_a_change_of_products_that_hangs_is_ended(tmp_path):
    with line_case(tmp_path, stuck_after_s=0.05) as case:
        done = case.line.use_products(NEW)
        assert done.result(SOON_S) == "the change of products took more than 0.05 s"
        case.be_ready(starts=2)
        assert case.worker.setup.products == {}


def test_the_end_waits_for_the_parts_that_are_there(tmp_path):
    with line_case(tmp_path) as case:
        tickets = [case.submit(), case.submit()]
        case.line.drain(60.0)
        with pytest.raises(NotReadyError, match="the daemon is draining"):
            case.submit()
        for _ in tickets:
            case.worker.answer(case.worker.job())
        case.line.join()
        assert [case.end_of(ticket).verdict for ticket in tickets] == ["normal", "normal"]
        assert (case.life.state, case.worker.stops, case.line.exit_code) == ("stopped", ["stop"], 0)
        case.check_journal()


def test_a_second_word_ends_it_now_with_the_parts_marked(tmp_path):
    with line_case(tmp_path) as case:
        tickets = [case.submit(), case.submit()]
        case.worker.job()
        change = case.line.use_products(NEW)
        case.line.drain(60.0)
        case.line.drain(0.0)
        case.line.join()
        assert [case.end_of(ticket).reason for ticket in tickets] == ["drained", "drained"]
        assert change.result(SOON_S) == "the daemon was told to stop"
        assert case.worker.stops == ["kill"]
        assert case.line.use_products(NEW).result(SOON_S) is not None
        case.check_journal()


def test_the_end_waits_also_for_a_worker_that_is_started_anew(tmp_path):
    with line_case(tmp_path) as case:
        case.submit()
        waiting = case.submit()
        case.worker.job()
        case.line.drain(60.0)
        case.worker.there.close()
        wait_until(lambda: case.worker.starts == 2)
        case.worker.say(Ready(bundle="bundle", engine="cpu fp32"))
        case.worker.answer(case.worker.job())
        assert case.end_of(waiting).verdict == "normal"
        case.line.join()
        assert case.life.state == "stopped"


def test_it_ends_at_once_when_told_while_it_starts(tmp_path):
    with line_case(tmp_path, is_ready=False) as case:
        began = time.monotonic()
        case.line.drain(60.0)
        case.line.join()
        assert time.monotonic() - began < SOON_S
        assert case.worker.stops == ["kill"]


def test_the_thread_shows_that_it_is_alive(tmp_path):
    with line_case(tmp_path) as case:
        assert case.line.silent_s < SOON_S
