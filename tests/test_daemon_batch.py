"""``/v1/inspect/batch``: a result for every part, whatever became of it."""

from __future__ import annotations

import json

import httpx
import pytest
from daemon_fakes import picture, running_daemon

URL = "/v1/inspect/batch"


@pytest.fixture
def running(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    http = {"port": 0, "roots": [folder]}
    with running_daemon(tmp_path, http=http) as running:
        yield running


def images(*contents):
    return [("images", (f"{index}.png", content)) for index, content in enumerate(contents)]


def test_an_array_has_a_record_for_each_image_in_order(running):
    parts = picture("normal"), picture("anomaly"), b"no picture", picture("uncertain")
    data = {"references": ["a", "b", "c", "d"], "product": "lid"}
    reply = running.client.post(URL, files=images(*parts), data=data)
    assert reply.status_code == 200
    results = reply.json()
    assert [result["index"] for result in results] == [0, 1, 2, 3]
    assert [result["status"] for result in results] == [200, 200, 422, 200]
    records = [result["record"] for result in results]
    verdicts = [record["verdict"] for record in records]
    assert verdicts == ["normal", "anomaly", "uncertain", "uncertain"]
    assert [record["reference"] for record in records] == ["a", "b", "c", "d"]
    assert {record["product"] for record in records} == {"lid"}
    assert running.records() == records


def test_lines_come_as_the_parts_end(running):
    running.worker.gate.clear()
    files = images(b"no picture", picture("normal"))
    with (
        running.served() as address,
        httpx.stream("POST", f"{address}{URL}?as=lines", files=files) as reply,
    ):
        assert reply.headers["content-type"] == "application/x-ndjson"
        lines = reply.iter_lines()
        first = json.loads(next(lines))
        assert (first["index"], first["status"]) == (0, 422)
        assert len(running.records()) == 1
        running.worker.gate.set()
        (last,) = map(json.loads, lines)
    assert (last["index"], last["record"]["verdict"]) == (1, "normal")


@pytest.mark.parametrize("form", ["array", "lines"])
def test_what_does_not_fit_the_queue_is_told(tmp_path, form):
    daemon = {"state": tmp_path / "state", "min_free_mb": 0, "queue_size": 2}
    with running_daemon(tmp_path, daemon=daemon) as running:
        running.worker.delay_s = 0.02
        files = images(*(picture(seed=seed) for seed in range(30)))
        reply = running.client.post(URL, params={"as": form}, files=files)
        assert reply.status_code == 200
        results = reply.json() if form == "array" else list(map(json.loads, reply.iter_lines()))
        assert sorted(result["index"] for result in results) == list(range(30))
        refused = [result["error"] for result in results if result["status"] == 429]
        assert {error["kind"] for error in refused} == {"QueueFullError"}
        accepted = [result["record"] for result in results if result["status"] == 200]
        assert len(accepted) + len(refused) == 30
        assert refused
        assert sorted(record["id"] for record in accepted) == [
            record["id"] for record in running.records()
        ]


def test_paths_may_differ_in_everything(running, tmp_path):
    path = tmp_path / "in" / "part.png"
    path.write_bytes(picture("anomaly"))
    parts = [
        {"path": str(path), "reference": "A", "ask": "Why?"},
        {"path": str(tmp_path / "golden.png")},
        {"path": str(path), "product": "lid", "tasks": []},
        {"path": str(path), "product": "nut"},
    ]
    results = running.client.post(URL, json={"parts": parts}).json()
    assert [result["status"] for result in results if result["index"] != 1] == [200, 200, 422]
    assert results[1]["status"] in (403, 422)
    assert results[0]["record"]["text"] == {"ask": "You asked: Why?"}
    assert results[2]["record"]["product"] == "lid"
    assert results[3]["error"]["kind"] == "ConfigError"


def test_where_no_part_is_accepted_the_status_says_so(running):
    running.daemon.line.drain(20.0)
    reply = running.client.post(URL, files=images(picture(), picture()))
    assert (reply.status_code, len(reply.json())) == (503, 2)
    assert {result["error"]["kind"] for result in reply.json()} == {"NotReadyError"}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"files": {"image": b"x"}}, "image: no file"),
        ({"files": {"product": (None, "cap")}}, "images: send"),
        ({"files": images(b"x"), "data": {"references": ["a", "b"]}}, "there are 2 for 1"),
        ({"files": images(b"x"), "data": {"reference": "a"}}, "one for each image"),
        ({"files": images(b"x"), "params": {"as": "xml"}}, "query.as: "),
        ({"json": {"parts": []}}, "parts: "),
        ({"json": {"parts": [{"path": "/x"}] * 257}}, "parts: "),
        ({"json": {"parts": [{"path": "/x", "colour": 1}]}}, "parts.0.colour: "),
    ],
)
def test_a_request_that_is_no_batch(running, request_, message):
    reply = running.client.post(URL, **request_)
    assert reply.status_code == 422
    assert message in reply.json()["error"]["message"]
    assert running.records() == []
