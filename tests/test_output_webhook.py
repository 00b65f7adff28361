"""The output ``webhook`` against a server of the test that is slow, fails, and works."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from outputs_bench import QUICK, Bench, free_port, station_file, until

from adcopilot_edge.runtime.daemon.outputs import ways_out


class Receiver:
    """A server that answers with what ``answers`` says next, or 204."""

    def __init__(self, port=0):
        self.requests = []
        self.answers = []
        self.release = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), body))
                receiver.answer(self, receiver.answers.pop(0) if receiver.answers else 204)

            def log_message(self, *words):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def answer(self, handler, answer):
        if answer == "hang":
            self.release.wait(20)
        elif answer == "drop":
            handler.connection.close()
        elif answer == "nonsense":
            handler.wfile.write(b"\x00\xff nothing of HTTP\r\n\r\n")
        elif answer == "trickle":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(OSError):
                while not self.release.wait(0.05):
                    handler.wfile.write(b"X-More: 1\r\n")
        else:
            handler.send_response(answer)
            handler.send_header("Location", "http://127.0.0.1:9/elsewhere")
            handler.end_headers()

    @property
    def keys(self):
        return [headers["Idempotency-Key"] for _, headers, _ in self.requests]

    @property
    def parts(self):
        return [json.loads(body)["seq"] for _, _, body in self.requests]

    def close(self):
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def hook(port, **values):
    url = f"http://127.0.0.1:{port}/parts?line=1"
    return {"name": "mes", "kind": "webhook", "url": url, **QUICK, **values}


def test_a_record_is_posted_whole_and_signed(tmp_path, receiver):
    (tmp_path / "secret").write_text("of the line\n")
    settings = station_file(hook(receiver.port, secret_file=tmp_path / "secret"))
    with Bench(tmp_path, settings) as bench:
        (number,) = bench.finish(reference="gr\u00fcn 7", verdict="anomaly")
        until(lambda: not bench.waiting("mes"))

    ((path, headers, body),) = receiver.requests
    told = json.loads(body)
    assert path == "/parts?line=1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == f"{told['journal']}-{number}"
    signature = hmac.new(b"of the line", body, hashlib.sha256).hexdigest()
    assert headers["X-AdCopilot-Signature"] == f"sha256={signature}"
    assert (told["seq"], told["id"], told["reference"]) == (number, number, "gr\u00fcn 7")
    assert (told["verdict"], told["reject"]) == ("anomaly", True)


def test_without_a_secret_nothing_is_signed(tmp_path, receiver):
    with Bench(tmp_path, station_file(hook(receiver.port))) as bench:
        bench.finish()
        until(lambda: not bench.waiting("mes"))
    assert "X-AdCopilot-Signature" not in receiver.requests[0][1]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (500, "answers 500 Internal Server Error"),
        (404, "answers 404 Not Found"),
        (302, "answers 302 Found"),
        (429, "answers 429 Too Many Requests"),
        ("drop", "gives no answer"),
        ("nonsense", "gives no answer of HTTP"),
        ("hang", "gives no answer within 0.3 s"),
        ("trickle", "gives no answer within 0.3 s"),
    ],
)
def test_what_is_not_confirmed_is_tried_again_with_the_same_key(
    tmp_path, receiver, monkeypatch, answer, words
):
    receiver.answers = [answer]
    timeout_s = 0.3 if answer in ("hang", "trickle") else 10
    settings = station_file(hook(receiver.port, timeout_s=timeout_s))
    with Bench(tmp_path, settings) as bench:
        delivery, problems = bench.outputs._deliveries["mes"], []
        fail = delivery._fail
        monkeypatch.setattr(delivery, "_fail", lambda words: (problems.append(words), fail(words)))
        numbers = bench.finish(2)
        until(lambda: not bench.waiting("mes"))

        # Under load an answer may be late once more; never is one missing or before its turn.
        assert receiver.parts == sorted(receiver.parts)
        assert receiver.parts[:2] == [1, 1]
        assert receiver.keys[0] == receiver.keys[1] != receiver.keys[-1]
        assert numbers == [1, 2]
        assert words in problems[0]
        assert "line=1" not in problems[0]
        until(lambda: bench.alarm("output:mes") is None)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_refused_record_does_not_hold_the_others(tmp_path, receiver, status):
    receiver.answers = [status] * 3
    with Bench(tmp_path, station_file(hook(receiver.port))) as bench:
        bench.finish(2)
        until(lambda: not bench.waiting("mes"))

        assert receiver.parts == [1, 1, 1, 2]
        assert f"answers {status}" in bench.alarm("output:mes:dropped")


def test_after_an_outage_everything_is_told_in_order(tmp_path):
    port = free_port()
    with Bench(tmp_path, station_file(hook(port))) as bench:
        numbers = bench.finish(40)
        until(lambda: "can't be reached: Connection refused" in (bench.alarm("output:mes") or ""))
        receiver = Receiver(port)
        try:
            numbers += bench.finish(10)
            until(lambda: not bench.waiting("mes"))
            assert receiver.parts == numbers
            until(lambda: bench.alarm("output:mes") is None)
        finally:
            receiver.close()


def test_a_daemon_ends_before_the_time_limit_of_a_server_that_hangs(
    tmp_path, receiver, monkeypatch
):
    monkeypatch.setattr(ways_out, "_CANCEL_S", 30.0)
    receiver.answers = ["hang"] * 9
    bench = Bench(tmp_path, station_file(hook(receiver.port, timeout_s=60)))
    bench.outputs.start()
    bench.finish()
    until(lambda: receiver.requests)

    bench.outputs.stop()

    assert not bench.outputs._deliveries["mes"]._thread.is_alive()
    assert bench.waiting("mes") == [1]
    bench.journal.close()
