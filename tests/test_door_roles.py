"""Who may come in at the daemon's door, and what each may do there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from door_cases import HERE, bearer, door, token_of
from fastapi.testclient import TestClient


@pytest.fixture
def local(tmp_path: Path) -> Iterator[TestClient]:
    with door(tmp_path / "state") as client:
        yield client


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[TestClient]:
    with door(tmp_path / "state", require_token=True) as client:
        yield client


def sign_in(client: TestClient, role: Any = "operator") -> Any:
    return client.post("/login", json={"token": token_of(client, role)}, headers={"Origin": HERE})


def test_on_the_loopback_everyone_is_admin(local):
    answer = local.post("/v1/operate")
    assert answer.json() == {"name": "local", "role": "admin", "way": "local"}
    assert local.post("/v1/change").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_what_came_through_a_proxy_is_not_local(local, header):
    assert local.post("/v1/change", headers={header: "10.0.0.9"}).status_code == 401


def test_without_a_token_nobody_is_known(guarded):
    for path in ("/v1/operate", "/v1/change", "/v1/inspect", "/healthz", "/openapi.json", "/none"):
        answer = guarded.post(path)
        assert (path, answer.status_code) == (path, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "adcopilot-edge token add" in answer.json()["error"]["message"]


def test_readiness_is_for_everyone(guarded):
    assert guarded.get("/readyz").status_code == 503


@pytest.mark.parametrize(("role", "expected"), [("operator", 403), ("admin", 200)])
def test_a_role_reaches_as_far_as_it_should(guarded, role, expected):
    headers = bearer(token_of(guarded, role))
    assert guarded.post("/v1/operate", headers=headers).json()["role"] == role
    assert guarded.post("/v1/change", headers=headers).status_code == expected


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer adce_",
        "Bearer adce_wrong",
        "Bearer " + "adce_" + "x" * 5000,
        "Basic YWJjOmRlZg==",
        "adce_without_scheme",
        b"Bearer adce_\xe9",
    ],
)
def test_a_wrong_token_is_refused_also_where_none_is_needed(local, value):
    token_of(local, "admin")
    assert local.post("/v1/operate", headers={"Authorization": value}).status_code == 401


def test_two_tokens_in_a_request_are_refused(guarded):
    good = ("Authorization", f"Bearer {token_of(guarded, 'admin')}")
    assert guarded.post("/v1/operate", headers=[good, good]).status_code == 401


def test_a_removed_token_is_refused_at_once(guarded):
    headers = bearer(token_of(guarded, "admin"))
    assert guarded.post("/v1/operate", headers=headers).status_code == 200
    guarded.app.state.keys.tokens.remove("anna")
    assert guarded.post("/v1/operate", headers=headers).status_code == 401


def test_many_wrong_tokens_must_wait_and_right_ones_need_not(guarded):
    good = bearer(token_of(guarded, "admin"))
    answers = [guarded.post("/v1/operate", headers=bearer("adce_no")) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [401] * 20 + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert guarded.post("/v1/operate", headers=good).status_code == 200


def test_wrong_tokens_at_the_login_count_too(guarded):
    answers = [guarded.post("/login", json={"token": "adce_no"}) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [401] * 20 + [429]


def test_a_login_gives_a_cookie_that_no_script_reads(guarded):
    answer = sign_in(guarded)
    cookie = answer.headers["set-cookie"].lower()
    assert (answer.status_code, answer.json()["role"]) == (200, "operator")
    for word in ("adcopilot-session=", "httponly", "samesite=strict", "path=/", "max-age=43200"):
        assert word in cookie
    assert "secure" not in cookie
    assert "adce_" not in cookie


def test_with_tls_the_cookie_is_secure_and_of_this_host(tmp_path):
    files = {"cert": tmp_path / "cert.pem", "key": tmp_path / "key.pem"}
    with door(tmp_path / "state", require_token=True, **files) as client:
        cookie = sign_in(client).headers["set-cookie"]
    assert cookie.startswith("__Host-adcopilot-session=")
    assert "secure" in cookie.lower()


def test_a_session_asks_as_its_token(guarded):
    sign_in(guarded)
    answer = guarded.post("/v1/operate", headers={"X-Requested-With": "fetch"})
    assert answer.json() == {"name": "anna", "role": "operator", "way": "session"}
    assert guarded.post("/v1/change", headers={"X-Requested-With": "fetch"}).status_code == 403
    assert guarded.get("/v1/session").json() == {
        "signed_in": True,
        "name": "anna",
        "role": "operator",
        "way": "session",
        "needs_token": True,
    }


def test_a_session_ends_by_logout_and_its_cookie_is_worth_nothing(guarded):
    sign_in(guarded)
    kept = guarded.cookies["adcopilot-session"]
    assert guarded.post("/logout", headers={"Origin": HERE}).status_code == 200
    guarded.cookies.set("adcopilot-session", kept, domain="127.0.0.1")
    assert guarded.get("/v1/session").json()["signed_in"] is False
    assert guarded.post("/v1/operate", headers={"Origin": HERE}).status_code == 401


def test_a_session_ends_with_its_token(guarded):
    sign_in(guarded)
    guarded.app.state.keys.tokens.remove("anna")
    token_of(guarded, "admin")  # of the same name
    assert guarded.get("/v1/session").json()["signed_in"] is False


def test_a_session_ends_with_its_time(guarded):
    guarded.app.state.keys.sessions.lasting_s = -1.0
    sign_in(guarded)
    assert guarded.get("/v1/session").json()["signed_in"] is False


def test_a_session_outlives_a_restart(tmp_path):
    with door(tmp_path, require_token=True) as client:
        sign_in(client)
        secret = client.cookies["adcopilot-session"]
    assert secret not in (tmp_path / "sessions.json").read_text(encoding="utf-8")
    assert (tmp_path / "sessions.json").stat().st_mode & 0o777 == 0o600
    with door(tmp_path, require_token=True) as client:
        client.cookies.set("adcopilot-session", secret, domain="127.0.0.1")
        assert client.get("/v1/session").json()["name"] == "anna"


@pytest.mark.parametrize(
    "content", [None, [], "text", {}, {"token": None}, {"token": 5}, {"token": ["adce_"]}]
)
def test_a_login_without_a_token_is_refused(guarded, content):
    assert guarded.post("/login", json=content).status_code == 401


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": HERE}, 200),
        ({"X-Requested-With": "fetch"}, 200),
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "http://127.0.0.1:8470.evil.example"}, 403),
        ({"Origin": "https://evil.example", "X-Requested-With": "fetch"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "X-Requested-With": "fetch"}, 403),
        ({"Sec-Fetch-Site": "same-site", "X-Requested-With": "fetch"}, 403),
    ],
)
def test_a_page_of_another_site_changes_nothing_with_a_cookie(guarded, headers, expected):
    sign_in(guarded)
    assert guarded.post("/v1/operate", headers=headers).status_code == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"Origin": HERE}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_a_page_of_another_site_changes_nothing_on_this_machine(local, headers, expected):
    assert local.post("/v1/change", headers=headers).status_code == expected


def test_another_site_signs_nobody_in(guarded):
    answer = guarded.post(
        "/login",
        json={"token": token_of(guarded, "operator")},
        headers={"Origin": "https://evil.example"},
    )
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_secrets_are_in_no_log_and_in_no_file(guarded, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    text = token_of(guarded, "admin")
    guarded.post("/login", json={"token": text})
    secret = guarded.cookies["adcopilot-session"]
    guarded.post("/v1/operate", headers=bearer(text))
    guarded.post("/login", json={"token": text + "x"})
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for hidden in (text, secret):
        assert hidden not in caplog.text
        assert hidden.encode() not in kept
    assert json.loads((tmp_path / "state" / "tokens.json").read_text())["tokens"][0]["name"]


def test_a_token_has_its_rate_wherever_it_comes_from(tmp_path):
    with door(tmp_path, require_token=True, requests_per_s=0.5) as client:
        first, second = (bearer(token_of(client, "operator", name)) for name in "ab")
        asked = [client.post("/v1/operate", headers=headers) for headers in (first, first, second)]
    assert [answer.status_code for answer in asked] == [200, 429, 200]
    assert asked[1].headers["retry-after"] == "2"
    assert "a sends more than 0.5" in asked[1].json()["error"]["message"]
