"""``/v1/inspect``: what comes in, what goes out, and what is refused."""

from __future__ import annotations

import pytest
from daemon_fakes import picture, running_daemon

URL = "/v1/inspect"


@pytest.fixture
def running(tmp_path):
    roots = tmp_path / "in"
    roots.mkdir()
    with running_daemon(tmp_path, http={"port": 0, "roots": [roots]}) as running:
        yield running


def error_of(reply):
    content = reply.json()
    assert set(content) == {"error"}
    assert set(content["error"]) - {"retry_after_s"} == {"kind", "message"}
    return reply.status_code, content["error"]["message"]


@pytest.mark.parametrize("verdict", ["normal", "anomaly", "uncertain"])
def test_a_file_gives_its_final_record(running, verdict):
    reply = running.client.post(
        URL, files={"image": picture(verdict)}, data={"reference": "A-1", "product": "lid"}
    )
    record = reply.json()
    assert (reply.status_code, record["verdict"], record["reference"]) == (200, verdict, "A-1")
    assert (record["product"], record["source"]) == ("lid", "http")
    assert running.records() == [record]


def test_a_path_gives_its_final_record(running, tmp_path):
    path = tmp_path / "in" / "part.png"
    path.write_bytes(picture("anomaly"))
    reply = running.client.post(
        URL, json={"path": str(path), "tasks": ["describe"], "ask": "Why?", "reference": "A-2"}
    )
    record = reply.json()
    assert (reply.status_code, record["verdict"], record["reference"]) == (200, "anomaly", "A-2")
    assert record["text"] == {"describe": "the describe of part 1", "ask": "You asked: Why?"}


@pytest.mark.parametrize(
    ("tasks", "wanted"),
    [
        (None, None),
        ("", ()),
        ("classify, locate", ("classify", "locate")),
        (["classify", "describe"], ("classify", "describe")),
    ],
)
def test_tasks_of_a_form(running, tasks, wanted):
    data = {"ask": "Where is it?"} | ({} if tasks is None else {"tasks": tasks})
    reply = running.client.post(URL, files={"image": picture()}, data=data)
    assert reply.status_code == 200
    (job,) = running.worker.jobs
    assert (job.tasks, job.ask) == (wanted, "Where is it?")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"product": "nut"}, "no product 'nut'"),
        ({"station": "roof"}, "no station 'roof'"),
        ({"product": "(pair)"}, "product: "),
        ({"colour": "red"}, "colour: there is no such field"),
        ({"path": "/etc/passwd"}, "path: there is no such field"),
        ({"tasks": "sing"}, "tasks.0: "),
        ({"tasks": "locate,locate"}, "each task once"),
        ({"ask": " "}, "ask something"),
        ({"ask": "x" * 2001}, "ask: "),
        ({"ask": ["one", "two"]}, "ask: it is there 2 times"),
        ({"reference": "x" * 201}, "reference: "),
    ],
)
def test_what_a_form_must_not_say(running, data, message):
    status, told = error_of(running.client.post(URL, files={"image": picture()}, data=data))
    assert status == 422
    assert message in told
    assert running.worker.jobs == []


@pytest.mark.parametrize(
    ("files", "status", "message"),
    [
        ({"picture": b"x"}, 422, "picture: no file belongs here"),
        ({"image": (None, "text")}, 422, "image: a file belongs here"),
        ([("image", b"x"), ("image", b"y")], 400, "Too many files"),
        ({"reference": (None, "A")}, 422, "image: send the picture"),
    ],
)
def test_a_form_without_its_one_file(running, files, status, message):
    got, told = error_of(running.client.post(URL, files=files))
    assert got == status
    assert message in told


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{", 422),
        ("application/json", b"[]", 422),
        ("application/json", b'{"reference": "A"}', 422),
        ("application/json", b'{"path": 5}', 422),
        ("application/json", b'{"path": "part.png"}', 422),
        ("application/json", b'{"path": "/x", "ask": "\\ud800"}', 422),
        ("application/json", b"\xff\xfe", 422),
        ("image/png", b"x", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n", 422),
        ("", b"", 415),
    ],
)
def test_a_body_that_is_none(running, kind, body, status):
    reply = running.client.post(URL, content=body, headers={"content-type": kind})
    assert error_of(reply)[0] == status
    assert running.records() == []


def test_paths_that_are_not_allowed(running, tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "golden.png"
    (inside / "link.png").symlink_to(outside)
    (inside / "folder").mkdir()
    for path in (
        outside,
        inside / "link.png",
        f"{inside}/../golden.png",
        inside / "folder",
        inside / "no.png",
        "/dev/zero",
        f"{inside}/a\0b",
    ):
        status, _ = error_of(running.client.post(URL, json={"path": str(path)}))
        assert status in (403, 422), path
    assert running.records() == []


def test_no_path_is_allowed_without_roots(tmp_path):
    with running_daemon(tmp_path) as running:
        reply = running.client.post(URL, json={"path": str(tmp_path / "golden.png")})
        assert error_of(reply)[0] in (403, 422)


def test_an_image_that_is_none_has_a_record(running):
    reply = running.client.post(URL, files={"image": b"no picture"})
    record = reply.json()
    assert (reply.status_code, record["verdict"]) == (422, "uncertain")
    assert (record["reason"], record["reject"]) == ("image_unusable", True)
    assert running.records() == [record]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", URL, 405), ("POST", "/healthz", 405)],
)
def test_wrong_addresses_have_errors_of_the_same_form(running, method, path, status):
    assert error_of(running.client.request(method, path))[0] == status


def test_a_full_queue_says_when_to_come_again(tmp_path):
    daemon = {"state": tmp_path / "state", "min_free_mb": 0, "queue_size": 1}
    with running_daemon(tmp_path, daemon=daemon) as running:
        running.worker.gate.clear()
        tickets = [running.daemon.submit(picture(), source="test") for _ in range(2)]
        reply = running.client.post(URL, files={"image": picture()})
        assert error_of(reply)[0] == 429
        assert int(reply.headers["retry-after"]) >= 1
        running.worker.gate.set()
        assert [ticket.done.result(20).verdict for ticket in tickets] == ["normal", "normal"]


def test_a_fault_of_the_daemon_keeps_its_words_in_the_log(running, monkeypatch):
    monkeypatch.setattr(running.daemon, "submit", lambda *args, **kwargs: 1 / 0)
    reply = running.client.post(URL, files={"image": picture()})
    status, told = error_of(reply)
    assert (status, "zero" in told) == (500, False)


@pytest.mark.parametrize("path", [URL, "/v1/inspect/stream", "/v1/inspect/batch", "/v1/models"])
def test_nothing_is_taken_before_it_is_ready(tmp_path, path):
    with running_daemon(tmp_path, is_ready_at_once=False) as running:
        method = "GET" if path == "/v1/models" else "POST"
        reply = running.client.request(method, path, content=b"not even a body")
        error = reply.json()["error"]
        assert (reply.status_code, error["kind"]) == (503, "NotReadyError")
        assert "ready in about" in error["message"]
        assert int(reply.headers["retry-after"]) >= 1
        assert running.client.get("/healthz").status_code == 200
        assert running.client.get("/readyz").status_code == 503
        assert running.client.get("/metrics").status_code == 200
        running.worker.let_start.set()
        running.wait_until("ready")
        assert running.client.get("/readyz").status_code == 200
        assert running.client.post(URL, files={"image": picture()}).status_code == 200


def test_no_part_is_taken_while_the_worker_starts_anew(running):
    running.worker.let_start.clear()
    running.worker.die()
    record = running.client.post(URL, files={"image": picture()}).json()
    assert (record["verdict"], record["reason"]) == ("uncertain", "worker_died")
    running.wait_until("loading")
    status, told = error_of(running.client.post(URL, files={"image": picture()}))
    assert (status, "loading" in told) == (503, True)
