"""What every answer at the daemon's door has, which name it is asked by, and what is logged."""

from __future__ import annotations

import logging
import time

import httpx
import pytest
from door_cases import (
    SOON_S,
    bearer,
    connected,
    door,
    head,
    read_to_end,
    served,
    settings_of,
    small_app,
    token_of,
)


@pytest.fixture(scope="module")
def port():
    with served(small_app(), settings_of(allowed_hosts=("line-3.factory",))) as port:
        yield port


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9", 200),
        ("localhost:8470", 200),
        ("LOCALHOST.", 200),
        ("[::1]:8470", 200),
        ("line-3.factory", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example@127.0.0.1", 421),
        ("127.0.0.1#evil", 421),
        ("127.0.0.2", 421),
        ("2130706433", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_a_request_names_this_host(port, host, expected):
    with connected(port) as connection:
        connection.sendall(head("/quick", "Connection: close", method="GET", host=host))
        status = int(read_to_end(connection).split()[1])
    assert status == expected


def test_on_all_addresses_the_one_in_digits_is_this_host():
    settings = settings_of(host="0.0.0.0")
    with served(small_app(), settings) as port, connected(port) as connection:
        connection.sendall(head("/quick", "Connection: close", method="GET"))
        assert b" 200 " in read_to_end(connection)


def test_every_answer_has_strict_headers_and_a_number(port):
    for path, status in (("/quick", 200), ("/none", 404)):
        answer = httpx.get(f"http://127.0.0.1:{port}{path}")
        assert answer.status_code == status
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert len(answer.headers["x-request-id"]) == 16
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers


def test_a_request_may_bring_its_number(port):
    numbers = {}
    for given in ("line-3.part_17", "x" * 65, "a b", 'a"b'):
        answer = httpx.get(f"http://127.0.0.1:{port}/quick", headers={"X-Request-ID": given})
        numbers[given] = answer.headers["x-request-id"] == given
    assert numbers == {"line-3.part_17": True, "x" * 65: False, "a b": False, 'a"b': False}


def wait_for_lines(caplog, number):
    """The log's lines about a request; they may come after its answer."""
    end = time.monotonic() + SOON_S
    while not (found := [line for line in caplog.messages if number in line and "from" in line]):
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


def test_the_log_has_a_line_for_each_request_and_no_secret(port, caplog):
    caplog.set_level(logging.DEBUG)
    answer = httpx.get(
        f"http://127.0.0.1:{port}/qu%0aick?token=adce_query",
        headers={"Authorization": "Bearer adce_header", "Cookie": "adcopilot-session=cookie_value"},
    )
    lines = wait_for_lines(caplog, answer.headers["x-request-id"])
    assert len(lines) == 1
    assert lines[0].startswith("GET /qu%0aick 404 ")
    ours = "\n".join(
        item.getMessage()
        for item in caplog.records
        if "httpx" not in item.name and "httpcore" not in item.name
    )
    for secret in ("adce_query", "adce_header", "cookie_value"):
        assert secret not in ours


def test_the_log_says_who_asked_and_how_often_in_vain(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    settings = settings_of(require_token=True)
    with door(tmp_path, require_token=True) as client, served(client.app, settings) as port:
        url = f"http://127.0.0.1:{port}/v1/operate"
        text = token_of(client, "operator")
        assert httpx.post(url, headers=bearer(text)).status_code == 200
        assert httpx.post(url, headers=bearer("adce_wrong_one")).status_code == 401
        assert httpx.post(url, headers={"Host": "evil.example"}).status_code == 421
        assert httpx.post(url, content=b"x" * 20_000, headers=bearer(text)).status_code == 413
    lines = [item.getMessage() for item in caplog.records if "answers" in item.name]
    assert [line.split()[2] for line in lines] == ["200", "401", "421", "413"]
    assert "by anna (token)" in lines[0]
    assert all("by nobody known" in line for line in lines[1:])
    assert text not in caplog.text
    assert "adce_wrong_one" not in caplog.text


def test_the_schema_has_no_road_around_the_gate(tmp_path):
    """Without a token every route of the application is closed but those that are meant for all."""
    with door(tmp_path, require_token=True) as client:
        routes = client.app.openapi()["paths"]
        open_ones = {
            path
            for path, ways in routes.items()
            for way in ways
            if client.request(way, path).status_code != 401
        }
        login = client.post("/login")
    assert open_ones == {"/readyz", "/logout", "/v1/session"}
    assert login.status_code == 401
