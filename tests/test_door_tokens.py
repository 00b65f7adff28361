"""Tokens on the command line and in their file, and what must be there before the door opens."""

from __future__ import annotations

import hmac
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from door_cases import certificate, served, settings_of, small_app

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.daemon.door.check import check_door
from adcopilot_edge.runtime.daemon.door.keys import tokens_file
from adcopilot_edge.runtime.daemon.door.tokens import TokenStore
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings
from adcopilot_edge.runtime.daemon.station_file import StationFile, read_station_file


@pytest.fixture
def store(tmp_path):
    return TokenStore(tmp_path / "state" / "tokens.json")


@pytest.fixture
def station(tmp_path):
    path = tmp_path / "station.toml"
    path.write_text(
        '[daemon]\nstate = "state"\n'
        '[[stations]]\nname = "belt"\nproduct = "cap"\n[[products]]\nname = "cap"\n',
        encoding="utf-8",
    )
    return path


def file_with(tmp_path, **http):
    return StationFile.model_validate(
        {
            "daemon": {"state": tmp_path / "state"},
            "http": http,
            "stations": [{"name": "belt", "product": "cap"}],
            "products": [{"name": "cap"}],
        }
    )


def test_a_token_is_found_and_its_text_is_nowhere(store):
    text = store.add("tablet-3", "operator")
    assert len(text) >= 48
    found = store.find(text)
    assert (found.name, found.role) == ("tablet-3", "operator")
    assert text not in store.path.read_text(encoding="utf-8")
    assert text not in repr(store.all())
    assert store.path.stat().st_mode & 0o777 == 0o600


def test_two_tokens_differ(store):
    assert store.add("a", "operator") != store.add("b", "operator")


def test_every_token_is_compared_in_constant_time(store, monkeypatch):
    texts = [store.add(name, "operator") for name in "abc"]
    compared = []
    constant_time = hmac.compare_digest

    def compare(left, right):
        compared.append(left)
        return constant_time(left, right)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert store.find(texts[0]).name == "a"
    assert len(compared) == 3
    assert store.find(texts[0] + "x") is None
    assert len(compared) == 6


@pytest.mark.parametrize("text", ["", "adce_", "adce_é", "x" * 10_000, "adce_" + "x" * 10_000])
def test_what_is_no_token_is_not_found(store, text):
    store.add("a", "admin")
    assert store.find(text) is None


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 65, "ä", "a\n"])
def test_a_bad_name_is_refused(store, name):
    with pytest.raises(ConfigError, match="no name"):
        store.add(name, "operator")


def test_a_name_is_given_once(store):
    store.add("a", "operator")
    with pytest.raises(ConfigError, match="already"):
        store.add("a", "admin")
    with pytest.raises(ConfigError, match="known: a"):
        store.remove("b")


def test_another_process_sees_a_change_at_once(store):
    reader = TokenStore(store.path)
    assert reader.all() == ()
    text = store.add("a", "operator")
    assert reader.find(text) is not None
    store.remove("a")
    assert reader.find(text) is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"tokens": [{"name": "a"}]}', '{"version": 2}']
)
def test_a_damaged_file_lets_nobody_in(store, content, caplog):
    text = store.add("a", "admin")
    store.path.write_text(content, encoding="utf-8")
    assert store.find(text) is None
    assert "no token is accepted" in caplog.text
    with pytest.raises(ConfigError, match="damaged"):
        store.all()


def test_a_file_that_others_read_lets_nobody_in(store):
    text = store.add("a", "admin")
    store.path.chmod(0o640)
    assert store.find(text) is None
    with pytest.raises(ConfigError, match="chmod 600"):
        store.all()


def test_tokens_on_the_command_line(cli, station):
    code, text, err = cli("token", "add", "anna", "--role", "admin", "--config", station)
    assert (code, err, text.count("\n")) == (0, "", 1)
    code, out, _ = cli("token", "add", "tablet", "--config", station, "--json")
    assert (code, json.loads(out)["role"]) == (0, "operator")
    code, out, _ = cli("token", "list", "--config", station, "--json")
    listed = json.loads(out)["tokens"]
    assert [(item["name"], item["role"]) for item in listed] == [
        ("anna", "admin"),
        ("tablet", "operator"),
    ]
    assert text.strip() not in out
    store = TokenStore(tokens_file(read_station_file(station).daemon.state))
    assert store.find(text.strip()).name == "anna"
    assert cli("token", "remove", "anna", "--config", station)[0] == 0
    assert store.find(text.strip()) is None
    assert cli("token", "remove", "anna", "--config", station)[0] == ConfigError.exit_code
    assert "tablet" in cli("token", "list", "--config", station)[1]


def test_an_empty_list_is_no_error(cli, station):
    assert cli("token", "list", "--config", station) == (0, "", "")


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("line-3", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_another_address_than_the_loopback_needs_a_token(tmp_path, host, is_loopback):
    settings = file_with(tmp_path, host=host)
    assert settings.http.needs_token is not is_loopback
    if is_loopback:
        check_door(settings)
        return
    with pytest.raises(ConfigError, match=r"not the loopback.*adcopilot-edge token add"):
        check_door(settings)
    TokenStore(tokens_file(settings.daemon.state)).add("a", "operator")
    check_door(settings)


def test_a_required_token_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match="require_token"):
        check_door(file_with(tmp_path, require_token=True))


def test_tokens_in_the_clear_are_warned_of(tmp_path, caplog):
    settings = file_with(tmp_path, host="0.0.0.0")
    TokenStore(tokens_file(settings.daemon.state)).add("a", "operator")
    check_door(settings)
    assert "in the clear" in caplog.text
    caplog.clear()
    check_door(file_with(tmp_path, host="0.0.0.0", **certificate(tmp_path)))
    assert caplog.text == ""


def test_a_root_must_be_a_folder(tmp_path):
    with pytest.raises(ConfigError, match="roots"):
        check_door(file_with(tmp_path, roots=[tmp_path / "none"]))


@pytest.mark.parametrize("names", [[""], ["http://x"], ["x:80"], ["*"], ["*.x"], ["a b"]])
def test_a_host_name_is_one(names):
    with pytest.raises(ValueError, match="no host name"):
        HttpSettings(allowed_hosts=names)


def test_cert_and_key_go_together(tmp_path):
    with pytest.raises(ValueError, match="go together"):
        HttpSettings(cert=tmp_path / "cert.pem")


def test_files_for_tls_are_checked_before_the_start(tmp_path):
    good, other = certificate(tmp_path), certificate(tmp_path, "other")
    locked = certificate(tmp_path, "locked", password=b"word")
    noise = tmp_path / "noise.pem"
    noise.write_bytes(b"noise")
    for files, words in (
        ({**good, "key": other["key"]}, "not that of the certificate"),
        ({**good, "cert": tmp_path / "none.pem"}, r"http\.cert: .*none\.pem can't be read"),
        ({**good, "key": tmp_path}, "can't be read"),
        (locked, "locked by a password"),
        ({**good, "cert": noise}, "noise.pem"),
        ({**good, "key": noise}, "noise.pem"),
    ):
        with pytest.raises(ConfigError, match=words):
            check_door(file_with(tmp_path, **files))
    check_door(file_with(tmp_path, **good))


def test_the_door_speaks_tls(tmp_path):
    files = certificate(tmp_path)
    trust = ssl.create_default_context(cafile=files["cert"])
    with served(small_app(), settings_of(**files)) as port:
        url = f"https://127.0.0.1:{port}/quick"
        with urllib.request.urlopen(url, context=trust, timeout=10) as answer:
            assert answer.read() == b"here"
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(url, timeout=10)


def test_serve_refuses_an_open_door(cli, station):
    text = station.read_text(encoding="utf-8") + '[http]\nhost = "0.0.0.0"\n'
    station.write_text(text, encoding="utf-8")
    for words in (("--check",), ()):
        code, _, err = cli("serve", "--config", station, *words)
        assert code == ConfigError.exit_code
        assert "token" in err
    assert not (Path(station.parent) / "state" / "lock").exists()
