"""Clients at the daemon's door that send too much, too slowly, too often, or half."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from door_cases import (
    SOON_S,
    connected,
    head,
    read_to_end,
    read_until,
    send_all,
    served,
    settings_of,
    small_app,
)

from adcopilot_edge.runtime.daemon.door.rate import RateLimit

LIMIT = int(0.01 * (1 << 20))


@pytest.fixture(scope="module")
def port():
    with served(small_app(), settings_of(body_timeout_s=0.5, header_timeout_s=0.4)) as port:
        yield port


def post(port, path, content, **headers):
    return httpx.post(f"http://127.0.0.1:{port}{path}", content=content, headers=headers)


def still_serves(port):
    return post(port, "/length", b"abc").json() == {"length": 3}


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_a_body_up_to_the_limit_comes_in(port, size):
    assert post(port, "/length", b"x" * size).json() == {"length": size}


@pytest.mark.parametrize("size", [LIMIT + 1, 20 * LIMIT, 400 * LIMIT])
def test_a_larger_body_is_refused_in_words(port, size):
    answer = post(port, "/length", b"x" * size)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (413, "BodyTooLarge")
    assert "max_body_mb" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/length", "/form"])
def test_a_body_without_a_length_is_counted_as_it_comes(port, path):
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    pieces = (form if number == 0 else b"x" * 1000 for number in range(30))
    kind = "multipart/form-data; boundary=b"
    answer = post(port, path, pieces, **{"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (413, "BodyTooLarge")


def test_a_form_that_is_too_large_is_refused(port):
    files = {"image": b"x" * (LIMIT + 1)}
    assert httpx.post(f"http://127.0.0.1:{port}/form", files=files).status_code == 413


@pytest.mark.parametrize("length", ["99999999999999999999999", "-5", "5x", "0x10", "5, 6"])
def test_a_wrong_length_is_refused(port, length):
    with connected(port) as connection:
        connection.sendall(head("/length", f"Content-Length: {length}"))
        status = int(read_to_end(connection).split()[1])
    assert status in (400, 413)
    assert still_serves(port)


@pytest.mark.parametrize(
    ("lines", "start"),
    [
        (["Content-Length: 100"], b"ten bytes."),
        (["Content-Length: 100"], b""),
        (["Transfer-Encoding: chunked"], b"5\r\nabcde\r\n"),
        (["Transfer-Encoding: chunked"], b"5\r\nab"),
        (["Transfer-Encoding: chunked"], b""),
    ],
)
def test_a_body_that_does_not_end_has_its_time(port, lines, start):
    with connected(port) as connection:
        connection.sendall(head("/length", *lines) + start)
        assert b" 408 " in read_to_end(connection).splitlines()[0]
    assert still_serves(port)


def test_a_body_in_drips_has_its_time_in_all(port):
    with connected(port) as connection:
        connection.sendall(head("/length", "Content-Length: 1000"))
        connection.settimeout(0.05)
        got = b""
        end = time.monotonic() + SOON_S
        while not got and time.monotonic() < end:
            connection.sendall(b"x")
            try:
                got = connection.recv(4096)
            except TimeoutError:
                continue
    assert b" 408 " in got.splitlines()[0]


@pytest.mark.parametrize(
    "start", [b"", b"P", b"POST /length HTTP/1.1\r\n", head("/length")[:-2], b"\r\n\r\n\r\n"]
)
def test_half_a_head_has_its_time(port, start):
    with connected(port) as connection:
        connection.sendall(start)
        assert read_to_end(connection)[:12] in (b"HTTP/1.1 408", b"HTTP/1.1 400")
    assert still_serves(port)


def test_a_head_in_drips_has_its_time_in_all(port):
    with connected(port) as connection:
        connection.settimeout(0.05)
        got = b""
        end = time.monotonic() + SOON_S
        for letter in head("/length", "X-Long: " + "x" * 2000):
            connection.sendall(bytes([letter]))
            try:
                got = connection.recv(4096)
            except TimeoutError:
                assert time.monotonic() < end
                continue
            break
    assert b" 408 " in got.splitlines()[0]


def test_the_second_request_of_a_connection_has_its_time_too(port):
    with connected(port) as connection:
        connection.sendall(head("/quick", method="GET"))
        read_until(connection, b"here")
        connection.sendall(b"GET /qui")
        assert b" 408 " in read_to_end(connection).splitlines()[0]


def test_what_follows_an_answer_does_not_hold_the_connection(port):
    with connected(port) as connection:
        connection.sendall(head("/quick", "Content-Length: 9000", method="GET") + b"x")
        assert b"here" in read_to_end(connection)


@pytest.mark.parametrize(
    "request_",
    [
        head("/length", "X-Long: " + "x" * 20_000),
        head("/length", *(f"X-{number}: {'x' * 80}" for number in range(300))),
        b"GET " + b"/" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET /quick HTTP/9.9\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
        head("/length", "Content-Length: 3", "Transfer-Encoding: chunked") + b"zzz\r\n",
        head("/length", "Transfer-Encoding: chunked") + b"zzz\r\n",
    ],
    ids=["header", "headers", "path", "tls", "version", "zeros", "two lengths", "no chunk"],
)
def test_what_is_no_request_is_refused(port, request_):
    with connected(port) as connection:
        send_all(connection, request_)
        assert read_to_end(connection)[:10] in (b"HTTP/1.1 4", b"")
    assert still_serves(port)


def test_who_is_gone_in_the_middle_leaves_nothing_behind(port):
    for _ in range(20):
        with connected(port) as connection:
            connection.sendall(head("/length", "Content-Length: 100") + b"x")
    assert still_serves(port)


def test_more_requests_a_second_than_allowed_must_wait():
    with served(small_app(), settings_of(requests_per_s=0.5)) as port:
        answers = [httpx.get(f"http://127.0.0.1:{port}/quick") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["retry-after"] == "2"
    assert answers[1].json()["error"]["kind"] == "RateLimited"


def test_more_requests_at_a_time_than_allowed_are_refused():
    app = small_app()
    with served(app, settings_of(max_requests=1)) as port, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(httpx.get, f"http://127.0.0.1:{port}/slow", timeout=SOON_S)
        end = time.monotonic() + SOON_S
        while (answer := httpx.get(f"http://127.0.0.1:{port}/quick")).status_code == 200:
            assert time.monotonic() < end
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        app.state.go_on.set()
        assert slow.result().text == "done"
        assert httpx.get(f"http://127.0.0.1:{port}/quick").status_code == 200


def test_who_does_not_read_the_answer_holds_nothing_for_long():
    settings = settings_of(max_requests=1, body_timeout_s=0.3)
    with served(small_app(), settings) as port, connected(port) as connection:
        connection.sendall(head("/large", method="GET"))
        assert connection.recv(1)
        time.sleep(2)  # a client can't see the end of a connection before it has read up to it
        got = read_to_end(connection)
        assert httpx.get(f"http://127.0.0.1:{port}/quick").status_code == 200
    assert len(got) < 32 << 20


def test_more_connections_than_allowed_are_closed():
    with served(small_app(), settings_of(max_connections=2, header_timeout_s=SOON_S)) as port:
        with connected(port) as first, connected(port) as second:
            for connection in (first, second):
                connection.sendall(head("/quick", method="GET"))
                read_until(connection, b"here")
            with connected(port) as third:
                assert read_to_end(third) == b""
        end = time.monotonic() + SOON_S
        while True:
            try:
                assert httpx.get(f"http://127.0.0.1:{port}/quick").status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < end


def test_a_bucket_fills_with_time_and_no_further():
    now = [100.0]
    rate = RateLimit(2.0, clock=lambda: now[0])
    assert [rate.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert rate.take("b") == 0
    now[0] += 0.5
    assert [rate.take("a"), rate.take("a")] == [0, 0.5]
    now[0] += 1000
    assert [rate.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]


def test_many_clients_do_not_fill_the_memory():
    rate = RateLimit(1.0, clock=lambda: 0.0)
    for number in range(10_000):
        rate.take(str(number))
    assert len(rate._buckets) <= 4096
