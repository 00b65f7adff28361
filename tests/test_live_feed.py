"""``/v1/live``: what a reader is told, and that a slow one harms nobody."""

from __future__ import annotations

import asyncio
import json

import pytest
from line_records import add_part, line_daemon

from adcopilot_edge.errors import NotReadyError
from adcopilot_edge.runtime.daemon.live_feed import LiveFeed
from adcopilot_edge.runtime.daemon.record_pictures import RecordPictures
from adcopilot_edge.runtime.daemon.web import live


@pytest.fixture
def daemon(tmp_path):
    with line_daemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def feed(daemon):
    return LiveFeed(daemon, RecordPictures(daemon))


def parse(events):
    """(kind, content) of each event of a body."""
    blocks = [block.split("\n") for block in events.decode().split("\n\n") if "data:" in block]
    return [(kind[7:], json.loads(data[6:])) for kind, data in blocks]


async def told(reader, number):
    return parse(b"".join([await reader.next(5) for _ in range(number)]))


def test_late_joiner_gets_the_state_and_the_last_fifty(daemon, feed):
    made = [add_part(daemon).id for _ in range(53)]

    async def read():
        return await told(feed.open(), 52)

    events = asyncio.run(read())
    assert [kind for kind, _ in events] == ["state", *["record"] * 50, "caught-up"]
    assert [content["id"] for kind, content in events if kind == "record"] == made[3:]


def test_last_records_outlive_the_daemon(daemon):
    made = [add_part(daemon, "anomaly").id for _ in range(2)]
    again = LiveFeed(daemon, RecordPictures(daemon))

    async def read():
        return await told(again.open(), 3)

    assert [content["id"] for _, content in asyncio.run(read())[1:]] == made


def test_state_has_queue_latency_takt_and_alarms(daemon, feed):
    for took_s in (0.1, 0.2, 0.3):
        add_part(daemon, took_s=took_s)
    daemon.alarms.set("disk", "it is full", stops_line=True)
    state = feed.state()
    assert state["state"] == "ready"
    assert state["stations"] == [{"name": "belt", "product": "lid", "takt_ms": 500}]
    assert state["latency_ms"] == {"p50": 200.0, "p99": 300.0, "parts": 3}
    assert state["alarms"][0]["message"] == "it is full"
    assert {"queued", "queue_size", "counters"} <= set(state)


def test_latency_of_nothing_is_none(feed):
    assert feed.state()["latency_ms"] == {"p50": None, "p99": None, "parts": 0}


def test_records_and_reviews_come_as_they_happen(daemon, feed):
    async def read():
        reader = feed.open()
        await told(reader, 2)
        record = await asyncio.to_thread(add_part, daemon, "anomaly")
        feed.tell_review({"part": record.id, "truth": "good"})
        return record.id, await told(reader, 2)

    number, events = asyncio.run(read())
    assert [(kind, content.get("id") or content["part"]) for kind, content in events] == [
        ("record", number),
        ("review", number),
    ]


def test_slow_reader_is_dropped_and_the_others_are_not(daemon):
    feed = LiveFeed(daemon, RecordPictures(daemon), buffer=5)

    async def read():
        slow, quick = feed.open(), feed.open()
        await told(quick, 2)
        for index in range(20):
            feed.tell("review", {"part": index})
            await told(quick, 1)
        return slow.is_dropped, quick.is_dropped, await slow.next(0)

    assert asyncio.run(read()) == (True, False, None)


def test_too_many_readers_are_told_so(feed):
    async def read():
        for _ in range(100):
            feed.open()

    with pytest.raises(NotReadyError, match="look at the line already"):
        asyncio.run(read())


def stream(feed, daemon, *, send=None, until=None):
    """Run the answer; what was sent. until: when the client leaves."""
    sent = []

    async def keep(message):
        sent.append(message)

    async def run():
        left = asyncio.Event()

        async def receive():
            await left.wait()
            return {"type": "http.disconnect"}

        if until is not None:
            asyncio.get_running_loop().call_later(until, left.set)
        await live.EventStream(feed, daemon.life)({}, receive, send or keep)

    asyncio.run(asyncio.wait_for(run(), 20))
    return sent


def test_stream_ends_when_the_client_leaves(daemon, feed):
    add_part(daemon)
    start, *bodies = stream(feed, daemon, until=0.2)
    assert dict(start["headers"])[b"content-type"].startswith(b"text/event-stream")
    kinds = [kind for kind, _ in parse(b"".join(body["body"] for body in bodies))]
    assert kinds == ["state", "record", "caught-up"]
    assert feed.num_readers == 0


def test_stream_ends_with_the_daemon(daemon, feed, monkeypatch):
    monkeypatch.setattr(live, "_STATE_S", 0.01)
    daemon.life.enter("stopped")
    assert stream(feed, daemon)[-1] == {
        "type": "http.response.body",
        "body": b"",
        "more_body": False,
    }
    assert feed.num_readers == 0


def test_reader_that_takes_nothing_is_left(daemon, feed, monkeypatch):
    monkeypatch.setattr(live, "_SEND_S", 0.05)

    async def send(message):
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    stream(feed, daemon, send=send)
    assert feed.num_readers == 0
