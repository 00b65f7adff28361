"""The output ``mqtt`` against a real broker that comes and goes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from mosquitto import Broker, Listener, needs_mosquitto
from outputs_bench import QUICK, Bench, free_port, station_file, until

pytestmark = needs_mosquitto

VERDICTS = "plant/belt/verdict"
STATUS = "plant/status"


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def listener(broker):
    listener = Listener(broker.port)
    yield listener
    listener.close()


def settings(port, **values):
    output = {"name": "bus", "kind": "mqtt", "host": "127.0.0.1", "port": port, "prefix": "plant"}
    return station_file({**output, **QUICK, **values})


def numbers(listener):
    return [json.loads(payload)["seq"] for payload in listener.payloads(VERDICTS)]


def test_verdicts_are_told_in_order_and_the_last_one_stays(tmp_path, broker, listener):
    with Bench(tmp_path, settings(broker.port)) as bench:
        sent = bench.finish(50, verdict="anomaly", score=0.75)
        until(lambda: numbers(listener) == sent)
        until(lambda: not bench.waiting("bus"))

        late = Listener(broker.port)
        until(lambda: len(late.heard) == 2)
        heard = {topic: (payload, is_kept) for topic, payload, is_kept in late.heard}
        late.close()
    record = json.loads(heard[VERDICTS][0])
    assert (record["seq"], record["id"], record["verdict"]) == (sent[-1], sent[-1], "anomaly")
    assert (record["anomaly_score"], record["reject"]) == (0.75, True)
    assert heard[STATUS] == (b"online", True)
    assert heard[VERDICTS][1] is True
    until(lambda: listener.payloads(STATUS) == [b"online", b"offline"])


def test_after_an_outage_nothing_is_missing_and_nothing_is_there_twice(tmp_path, broker, listener):
    with Bench(tmp_path, settings(broker.port)) as bench:
        sent = bench.finish(10)
        until(lambda: numbers(listener) == sent)
        until(lambda: not bench.waiting("bus"))
        broker.stop()
        until(lambda: bench.alarm("output:bus"))
        sent += bench.finish(30)
        assert bench.waiting("bus") == sent[10:]
        broker.start()
        sent += bench.finish(10)
        until(lambda: not bench.waiting("bus"))
        until(lambda: bench.alarm("output:bus") is None)
        until(lambda: numbers(listener) == sent)
        assert bench.outputs.to_json()["bus"]["sent"] == 50


def test_what_waited_is_heard_in_order_without_gaps(tmp_path):
    broker = Broker(tmp_path)
    bench = Bench(tmp_path, settings(broker.port))
    sent = bench.finish(40)  # there is no broker yet
    broker.start()
    listener = Listener(broker.port)
    try:
        with bench:
            until(lambda: not bench.waiting("bus"))
            sent += bench.finish(5)
            until(lambda: numbers(listener) == sent)
        assert numbers(listener) == sorted(sent)
    finally:
        listener.close()
        broker.stop()


def test_a_broker_that_hangs_is_left_and_found_again(tmp_path, broker, listener):
    with Bench(tmp_path, settings(broker.port, timeout_s=0.5)) as bench:
        sent = bench.finish(3)
        until(lambda: not bench.waiting("bus"))
        broker.freeze()
        sent += bench.finish(3)
        # It does not confirm; soon after it does not even take a new connection.
        until(lambda: bench.alarm("output:bus"))
        broker.thaw()
        until(lambda: not bench.waiting("bus"))
        # The one that hung may be there twice, with its number: it was sent, and never confirmed.
        until(lambda: sorted(set(numbers(listener))) == sent)
        assert numbers(listener) == sorted(numbers(listener))


def _serve_until_killed(folder, port, told):
    with Bench(folder, settings(port)) as bench:
        bench.finish(3)
        until(lambda: not bench.waiting("bus"))
        told.send(os.getpid())
        time.sleep(60)


def test_a_daemon_that_is_killed_is_offline_by_its_last_will(tmp_path, broker, listener):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_until_killed, args=(tmp_path, broker.port, theirs))
    process.start()
    assert ours.poll(20)
    os.kill(ours.recv(), signal.SIGKILL)
    process.join()

    until(lambda: listener.payloads(STATUS) == [b"online", b"offline"])
    with Bench(tmp_path, settings(broker.port)) as bench:
        assert bench.finish() == [4]
        until(lambda: numbers(listener) == [1, 2, 3, 4])
        until(lambda: listener.payloads(STATUS)[-1] == b"online")


@pytest.fixture
def guarded(tmp_path):
    """A broker that wants a name and a password."""
    program = subprocess.run(["sh", "-c", "command -v mosquitto_passwd"], capture_output=True)
    if program.returncode:
        pytest.skip("mosquitto_passwd is not installed")
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", passwords, "line", "open sesame"],
        check=True,
        capture_output=True,
    )
    broker = Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    broker.start()
    yield broker
    broker.stop()


def test_a_password_comes_from_a_file(tmp_path, guarded):
    (tmp_path / "word").write_text("open sesame\n")
    known = settings(guarded.port, username="line", password_file=tmp_path / "word")
    with Bench(tmp_path / "good", known) as bench:
        bench.finish()
        until(lambda: not bench.waiting("bus"))

    (tmp_path / "wrong").write_text("shut sesame\n")
    wrong = settings(guarded.port, username="line", password_file=tmp_path / "wrong")
    with Bench(tmp_path / "bad", wrong) as bench:
        bench.finish()
        until(lambda: "refuses this client: Not authorized" in (bench.alarm("output:bus") or ""))
        assert "sesame" not in bench.alarm("output:bus")


def test_what_is_no_broker_is_an_alarm(tmp_path):
    silent = socket.create_server(("127.0.0.1", 0))
    with Bench(tmp_path / "a", settings(silent.getsockname()[1], timeout_s=0.3)) as bench:
        until(lambda: "does not answer as a broker does" in (bench.alarm("output:bus") or ""))
    silent.close()
    with Bench(tmp_path / "b", settings(free_port())) as bench:
        sent = bench.finish()
        until(lambda: "can't be reached: Connection refused" in (bench.alarm("output:bus") or ""))
        assert bench.waiting("bus") == sent


def test_threads_and_clients_do_not_pile_up_while_the_broker_is_gone(tmp_path):
    with Bench(tmp_path, settings(free_port())) as bench:
        until(lambda: bench.outputs.to_json()["bus"]["failed"] >= 3)
        before = threading.active_count()
        until(lambda: bench.outputs.to_json()["bus"]["failed"] >= 20)
        assert threading.active_count() <= before + 1
