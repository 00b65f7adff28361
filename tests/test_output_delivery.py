"""Delivery from the outbox, with channels that do what the test says."""

from __future__ import annotations

import random
import threading
import time

import pytest
from outputs_bench import QUICK, Bench, station_file, until

from adcopilot_edge.errors import JournalError, OutputError, OutputRefusedError
from adcopilot_edge.runtime.daemon.outputs import ways_out
from adcopilot_edge.runtime.daemon.outputs.backoff import BackOff
from adcopilot_edge.runtime.daemon.outputs.ways_out import Outputs

HOOK = {"name": "mes", "kind": "webhook", "url": "http://127.0.0.1:9/", **QUICK}


class Scripted:
    """A channel that takes what comes, unless ``problem`` says what to raise for a part."""

    def __init__(self):
        self.told = []
        self.keys = []
        self.problem = lambda number: None
        self.open_problem = None
        self.hang = None
        self.was_closed = False

    def open(self):
        if self.open_problem is not None:
            raise self.open_problem

    def send(self, message):
        self.keys.append(message.key)
        if self.hang is not None:
            self.hang.wait()
            raise OutputError("cancelled")
        if (problem := self.problem(message.number)) is not None:
            raise problem
        self.told.append(message.number)

    def cancel(self):
        if self.hang is not None:
            self.hang.set()

    def close(self):
        self.was_closed = True


@pytest.fixture
def channels(monkeypatch):
    """The scripted channels by the name of their output."""
    made = {}

    def make(self, output):
        return made.setdefault(output.name, Scripted())

    monkeypatch.setattr(Outputs, "_channel", make)
    return made


def counters(bench, name="mes"):
    return bench.outputs.to_json()[name]


def test_records_go_in_order_and_leave_the_disk_once_told(tmp_path, channels):
    with Bench(tmp_path, station_file(HOOK)) as bench:
        numbers = bench.finish(200)
        until(lambda: not bench.waiting("mes"))
        late = bench.finish()
        until(lambda: not bench.waiting("mes"))

        assert channels["mes"].told == numbers + late
        assert (counters(bench)["sent"], counters(bench)["failed"]) == (201, 0)
        assert bench.alarms.all() == []
    assert channels["mes"].was_closed


def test_a_record_waits_while_the_output_fails_and_holds_those_behind_it(tmp_path, channels):
    with Bench(tmp_path, station_file(HOOK)) as bench:
        channels["mes"].problem = lambda number: OutputError("no answer")
        numbers = bench.finish(5)
        until(lambda: counters(bench)["failed"] >= 3)

        assert bench.waiting("mes") == numbers
        assert set(channels["mes"].keys) == {channels["mes"].keys[0]}
        assert "no answer" in bench.alarm("output:mes")

        channels["mes"].problem = lambda number: None
        until(lambda: not bench.waiting("mes"))
        until(lambda: bench.alarm("output:mes") is None)
        assert channels["mes"].told == numbers


def test_an_output_that_can_not_be_opened_raises_the_alarm_with_nothing_to_tell(tmp_path, channels):
    with Bench(tmp_path, station_file(HOOK)) as bench:
        channels["mes"].open_problem = OutputError("the broker is gone")
        bench.outputs._deliveries["mes"].wake()
        assert "the broker is gone" in until(lambda: bench.alarm("output:mes"))
        channels["mes"].open_problem = None
        until(lambda: bench.alarm("output:mes") is None)


def test_one_output_does_not_hold_another(tmp_path, channels):
    days = {**HOOK, "name": "days"}
    with Bench(tmp_path, station_file(HOOK, days)) as bench:
        channels["mes"].problem = lambda number: OutputError("no answer")
        numbers = bench.finish(3)
        until(lambda: not bench.waiting("days"))

        assert channels["days"].told == numbers
        assert bench.waiting("mes") == numbers


def test_only_the_outputs_of_the_product_are_told(tmp_path, channels):
    products = [
        {"name": "lid", "outputs": ["mes"]},
        {"name": "cap"},
        {"name": "nut", "outputs": []},
    ]
    days = {**HOOK, "name": "days"}
    with Bench(tmp_path, station_file(HOOK, days, products=products)) as bench:
        lid = bench.finish(product="lid")
        cap = bench.finish(product="cap")
        nut = bench.finish(product="nut")
        gone = bench.finish(product="of an older station file")
        until(lambda: len(channels["mes"].told) == 3 and len(channels["days"].told) == 2)

        assert channels["mes"].told == lid + cap + gone
        assert channels["days"].told == cap + gone
        assert nut[0] not in channels["mes"].told


def test_what_was_not_confirmed_is_told_again_with_the_same_key_after_a_kill(tmp_path, channels):
    settings = station_file(HOOK)
    first = Bench(tmp_path, settings)
    (number,) = first.finish()
    # The output has the record, and the process ends before the commit that takes it out.
    (message,) = first.outputs._deliveries["mes"]._outbox.oldest(1)
    first.journal.close()

    with Bench(tmp_path, settings) as second:
        until(lambda: not second.waiting("mes"))
        assert channels["mes"].told == [number]
        assert channels["mes"].keys == [message.key]


def test_another_journal_has_other_keys(tmp_path, channels):
    for name in ("one", "two"):
        with Bench(tmp_path / name, station_file(HOOK)) as bench:
            assert bench.finish() == [1]
            until(lambda: not bench.waiting("mes"))
    first, second = channels["mes"].keys
    assert first != second
    assert first.endswith("-1")
    assert second.endswith("-1")


def test_what_the_disk_did_not_take_out_is_not_told_twice(tmp_path, channels, monkeypatch):
    with Bench(tmp_path, station_file(HOOK)) as bench:
        outbox = bench.outputs._deliveries["mes"]._outbox
        confirm, failures = outbox.confirm, [1, 2, 3]

        def failing(parts):
            if failures:
                failures.pop()
                raise JournalError("the disk is full")
            confirm(parts)

        monkeypatch.setattr(outbox, "confirm", failing)
        numbers = bench.finish(3)
        until(lambda: not bench.waiting("mes"))
        assert channels["mes"].told == numbers
        assert counters(bench)["sent"] == 3


def test_beyond_keep_the_oldest_go_and_are_counted(tmp_path, channels):
    settings = station_file({**HOOK, "keep": 10})
    with Bench(tmp_path, settings) as bench:
        channels["mes"].problem = lambda number: OutputError("no answer")
        numbers = bench.finish(25)
        until(lambda: counters(bench)["dropped"] == 15)

        assert bench.waiting("mes") == numbers[-10:]
        until(lambda: (bench.alarm("output:mes:dropped") or "").startswith("15 records will not"))
        channels["mes"].problem = lambda number: None
        until(lambda: channels["mes"].told == numbers[-10:])
        until(lambda: bench.alarm("output:mes") is None)
        assert bench.alarm("output:mes:dropped")
    with Bench(tmp_path, settings) as again:
        assert counters(again)["given_up_before"] == 15


def test_a_record_that_is_refused_is_given_up_and_counted(tmp_path, channels):
    with Bench(tmp_path, station_file(HOOK)) as bench:
        bad = {2}
        channels["mes"].problem = lambda number: (
            OutputRefusedError("422 what is this") if number in bad else None
        )
        bench.finish(3)
        until(lambda: not bench.waiting("mes"))

        assert channels["mes"].told == [1, 3]
        assert len(channels["mes"].keys) == 5
        assert counters(bench)["refused"] == 1
        assert "part 2: 422 what is this" in bench.alarm("output:mes:dropped")


def test_an_error_that_nobody_foresaw_is_an_alarm_too(tmp_path, channels):
    with Bench(tmp_path, station_file(HOOK)) as bench:
        errors = [KeyError("station"), RuntimeError("odd")]
        channels["mes"].problem = lambda number: errors.pop() if errors else None
        bench.finish()
        until(lambda: not bench.waiting("mes"))
        assert counters(bench)["failed"] == 2


def test_an_output_that_lags_raises_the_alarm(tmp_path, channels):
    bench = Bench(tmp_path, station_file({**HOOK, "alarm_after_s": 5}))
    bench.finish(2, finished_at=time.time() - 60)

    bench.outputs._deliveries["mes"]._look_after()

    assert "mes is behind by 60 s; 2 records wait" in bench.alarm("output:mes")
    bench.outputs.start()
    until(lambda: bench.alarm("output:mes") is None)
    bench.close()


def test_it_stops_within_seconds_while_the_output_hangs(tmp_path, channels, monkeypatch):
    monkeypatch.setattr(ways_out, "_CANCEL_S", 30.0)
    bench = Bench(tmp_path, station_file(HOOK))
    channels["mes"].hang = threading.Event()
    bench.outputs.start()
    numbers = bench.finish(3)
    until(lambda: channels["mes"].keys)

    bench.outputs.stop()

    assert channels["mes"].was_closed
    assert bench.waiting("mes") == numbers
    bench.journal.close()


def test_what_goes_at_once_is_told_before_the_end(tmp_path, channels, monkeypatch):
    monkeypatch.setattr(ways_out, "_LAST_S", 30.0)
    bench = Bench(tmp_path, station_file(HOOK))
    bench.outputs.start()
    numbers = bench.finish(30)
    bench.outputs.stop()
    assert channels["mes"].told == numbers
    assert bench.waiting("mes") == []
    bench.journal.close()


def test_rows_of_an_output_that_is_gone_are_kept_and_told_of(tmp_path, channels):
    first = Bench(tmp_path, station_file(HOOK))
    numbers = first.finish(4)
    first.journal.close()

    with Bench(tmp_path, station_file({**HOOK, "name": "other"})) as bench:
        assert bench.alarm("output:mes").startswith("4 records wait for the output mes")
        assert bench.waiting("mes") == numbers


def test_pauses_grow_to_their_limit_and_begin_anew():
    back_off = BackOff(4.0, random.Random(7))
    pauses = [back_off.take() for _ in range(8)]

    assert pauses[0] <= 0.25
    assert all(0.125 <= pause <= 4 for pause in pauses)
    assert all(2 <= pause <= 4 for pause in pauses[4:])
    back_off.reset()
    assert back_off.take() <= 0.25
