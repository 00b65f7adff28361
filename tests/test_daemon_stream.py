"""``/v1/inspect/stream``: which events come, in which order, and who may go away."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from daemon_fakes import picture, running_daemon

URL = "/v1/inspect/stream"


@pytest.fixture
def running(tmp_path):
    with running_daemon(tmp_path) as running:
        yield running


def read(lines):
    """The events of a stream: (name, content)."""
    name = None
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def send(running, **fields):
    reply = running.client.post(URL, files={"image": picture("anomaly")}, data=fields)
    assert (reply.status_code, reply.headers["content-type"]) == (
        200,
        "text/event-stream; charset=utf-8",
    )
    return list(read(reply.text.splitlines()))


def test_the_order_of_events(running):
    events = send(running, tasks="describe", ask="Why?")
    names = [name for name, _ in events]
    answer = ["words", "words", "answer"]
    assert names == ["accepted", "verdict", *answer, *answer, "record"]
    contents = [content for _, content in events]
    assert contents[0] == {"id": 1}
    assert contents[1] == {"verdict": "anomaly", "reject": True, "anomaly_score": 0.875}
    words = [content["piece"] for name, content in events if name == "words"]
    assert "".join(words[2:]) == "You asked: Why?"
    assert contents[7] == {"name": "ask", "text": "You asked: Why?", "is_complete": True}
    assert contents[8] == running.records()[0]


def test_the_verdict_comes_before_the_inspection_is_over(running):
    running.worker.gate.clear()
    with running.served() as address, httpx.Client(base_url=address) as client:
        files = {"image": picture("anomaly")}
        with client.stream("POST", URL, files=files, data={"ask": "Why?"}) as reply:
            events = read(reply.iter_lines())
            assert [next(events)[0] for _ in range(2)] == ["accepted", "verdict"]
            assert running.records() == []
            running.worker.gate.set()
            assert [name for name, _ in events][-1] == "record"


def test_an_unusable_image_has_a_verdict_and_a_record(running):
    reply = running.client.post(URL, files={"image": b"no picture"})
    events = list(read(reply.text.splitlines()))
    assert [name for name, _ in events] == ["accepted", "verdict", "record"]
    assert events[1][1] == {"verdict": "uncertain", "reject": True, "anomaly_score": None}
    assert events[2][1]["reason"] == "image_unusable"


def test_a_takt_that_ends_later_takes_the_verdict_back(tmp_path):
    stations = [{"name": "belt", "product": "cap", "takt_ms": 300}]
    with running_daemon(tmp_path, stations=stations) as running:
        running.worker.gate.clear()
        events = send(running)
        assert [name for name, _ in events] == ["accepted", "verdict", "verdict", "record"]
        assert [events[1][1]["verdict"], events[2][1]["verdict"]] == ["anomaly", "uncertain"]
        assert events[3][1]["reason"] == "takt_overrun"


def test_a_refused_part_has_no_stream(running):
    reply = running.client.post(URL, files={"image": picture()}, data={"product": "nut"})
    assert (reply.status_code, reply.json()["error"]["kind"]) == (422, "ConfigError")


def test_a_record_that_can_not_be_written_is_an_event(running):
    running.worker.gate.clear()
    files = {"image": picture()}
    with running.served() as address, httpx.stream("POST", address + URL, files=files) as reply:
        events = read(reply.iter_lines())
        assert next(events)[0] == "accepted"
        running.daemon.journal.write(lambda c: c.execute("DELETE FROM parts")).result()
        running.worker.gate.set()
        name, content = list(events)[-1]
    assert (name, content["kind"], content["id"]) == ("error", "JournalError", 1)


def test_a_part_goes_on_without_its_client(running):
    heard = []
    running.daemon.on_final(lambda record, part: heard.append(record.id))
    running.worker.gate.clear()
    files, data = {"image": picture()}, {"ask": "Why?"}
    with (
        running.served() as address,
        httpx.stream("POST", address + URL, files=files, data=data) as reply,
    ):
        assert next(read(reply.iter_lines()))[0] == "accepted"
    # The server has ended too: nobody is left who could be told.
    running.worker.gate.set()
    ticket = running.daemon.submit(picture(), source="test")
    assert ticket.done.result(20).verdict == "normal"
    assert [record["id"] for record in running.records()] == [1, 2]
    end = time.monotonic() + 20
    while heard != [1, 2]:
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_listener_that_fails_does_not_end_the_line(running):
    def fail(event):
        raise ValueError(event)

    ticket = running.daemon.submit(picture(), source="test", ask="Why?", on_event=fail)
    assert ticket.done.result(20).verdict == "normal"
