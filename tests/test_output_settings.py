"""The tables ``outputs`` of a station file: what is taken, and what is refused with a reason."""

from __future__ import annotations

import pytest
from outputs_bench import Bench, station_file
from pydantic import ValidationError

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.daemon.outputs.secret import read_secret
from adcopilot_edge.runtime.daemon.station_file import read_station_file

MQTT = {"name": "broker", "kind": "mqtt", "host": "mes.example"}
HOOK = {"name": "mes", "kind": "webhook", "url": "https://mes.example/parts"}
PLC = {"name": "plc", "kind": "modbus"}

TOML = """
[daemon]
state = "state"
[[stations]]
name = "belt"
product = "lid"
[[products]]
name = "lid"
outputs = ["mes"]
[[outputs]]
name = "mes"
kind = "webhook"
url = "https://mes.example/parts?line=1"
secret_file = "mes.secret"
[[outputs]]
name = "days"
kind = "file"
folder = "records"
"""


def test_paths_are_from_the_folder_of_the_file(tmp_path):
    path = tmp_path / "station.toml"
    path.write_text(TOML)

    mes, days = read_station_file(path).outputs

    assert mes.secret_file == tmp_path / "mes.secret"
    assert days.folder == tmp_path / "records"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({**MQTT, "password": "clear"}, "Extra inputs are not permitted"),
        ({**MQTT, "password_file": "p"}, "a password needs a username"),
        ({**MQTT, "username": "u", "password_file": "p", "password_env": "P"}, "not both"),
        ({**MQTT, "prefix": "a/#"}, "is no prefix of a topic"),
        ({**MQTT, "prefix": "/a"}, "is no prefix of a topic"),
        ({**MQTT, "prefix": ""}, "is no prefix of a topic"),
        ({**MQTT, "prefix": "$SYS"}, "is no prefix of a topic"),
        ({**MQTT, "ca_file": "ca.pem"}, "need tls = true"),
        ({**MQTT, "tls": True, "key_file": "k"}, "belong together"),
        ({**MQTT, "port": 70000}, "less than or equal to 65535"),
        ({**HOOK, "url": "ftp://mes.example"}, "must begin with http:// or https://"),
        ({**HOOK, "url": "file:///etc/passwd"}, "must begin with http:// or https://"),
        ({**HOOK, "url": "http://"}, "must begin with http:// or https://"),
        ({**HOOK, "url": "http://user:word@mes.example"}, "must not hold a user or a password"),
        ({**HOOK, "url": "http://mes.example/a b"}, "printable ASCII"),
        ({**HOOK, "url": "http://mes.example/\r\nX: 1"}, "printable ASCII"),
        ({**HOOK, "url": "http://mes.example:99999/"}, "out of range"),
        ({**HOOK, "secret_file": "s", "secret_env": "S"}, "not both"),
        ({**HOOK, "timeout_s": 0}, "greater than 0"),
        ({**HOOK, "keep": 0}, "greater than 0"),
        ({**HOOK, "kind": "smtp"}, "does not match any of the expected tags"),
        ({**HOOK, "name": "a/b"}, "should match pattern"),
        ({**PLC, "station": "roof"}, "has the station roof, which is not among belt"),
        ({**PLC, "keep": 5}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_told(output, message):
    with pytest.raises(ValidationError) as caught:
        station_file(output)

    assert message in str(caught.value)


def test_names_are_unique_and_known():
    with pytest.raises(ValidationError, match="mes is there twice"):
        station_file(HOOK, HOOK)
    with pytest.raises(ValidationError, match="outputs mess, which are not among mes"):
        station_file(HOOK, products=[{"name": "lid", "outputs": ["mess"]}])


def test_a_plc_of_several_stations_must_say_which():
    with pytest.raises(ValidationError, match="say which of belt, roof"):
        station_file(PLC, stations=("belt", "roof"))
    station_file({**PLC, "station": "roof"}, stations=("belt", "roof"))


def test_secrets_come_from_files_and_variables(tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"of the line \r\n")
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "long").write_bytes(b"x" * 5000)
    monkeypatch.setenv("LINE_SECRET", "from here")
    monkeypatch.setenv("NO_SECRET", "")

    assert read_secret(tmp_path / "secret", None) == b"of the line "
    assert read_secret(None, "LINE_SECRET") == b"from here"
    assert read_secret(None, None) is None
    for file, variable, message in [
        (tmp_path / "missing", None, "missing can't be read: No such file"),
        (tmp_path / "empty", None, "must have 1 to 4096 bytes"),
        (tmp_path / "long", None, "must have 1 to 4096 bytes"),
        (None, "NO_SECRET", "NO_SECRET is not set, or empty"),
    ]:
        with pytest.raises(ConfigError, match=message):
            read_secret(file, variable)


@pytest.mark.parametrize(
    "output",
    [
        {**MQTT, "username": "line", "password_file": "missing"},
        {**MQTT, "tls": True, "ca_file": "missing"},
        {**HOOK, "secret_file": "missing"},
        {**HOOK, "ca_file": "missing"},
    ],
)
def test_a_daemon_does_not_start_without_its_secrets(tmp_path, output):
    with pytest.raises(ConfigError, match="missing can't be"):
        Bench(tmp_path, station_file(output))
