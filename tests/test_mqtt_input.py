"""Trigger messages over MQTT, with a real broker."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from broker_cases import Speaker, running_broker
from daemon_fakes import picture
from input_cases import FakeCamera, daemon_with, records_of, wait_for

from adcopilot_edge.errors import ConfigError, InputError
from adcopilot_edge.runtime.daemon.broker import BrokerSettings
from adcopilot_edge.runtime.daemon.broker_client import BrokerClient
from adcopilot_edge.runtime.daemon.inputs.trigger_message import read_trigger

_TOPIC, _ERRORS = "plant/belt/trigger", "plant/belt/error"


@pytest.fixture
def broker(tmp_path):
    with running_broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "good.png").write_bytes(picture())
    (folder / "bad.png").write_bytes(picture("anomaly"))
    return folder


def _table(port, **keys):
    at = {"host": "127.0.0.1", "port": port}
    table = {"kind": "mqtt", "name": "plc", "station": "belt", "prefix": "plant", "broker": at}
    return {**table, **keys}


@contextmanager
def _listening(tmp_path, broker, *tables, **options):
    """A daemon that has subscribed, and a client that hears its errors."""
    with daemon_with(tmp_path, *tables, **options) as (running, inputs):
        wait_for(lambda: inputs.to_json()[-1]["is_well"])
        speaker = Speaker(broker.port, _ERRORS)
        try:
            yield running, inputs, speaker
        finally:
            speaker.close()


def _say(speaker, **message):
    speaker.say(_TOPIC, json.dumps(message))


def test_a_path_is_inspected(tmp_path, broker, pictures):
    table = _table(broker.port, roots=[pictures])
    with _listening(tmp_path, broker, table) as (running, _, speaker):
        _say(speaker, path="bad.png", reference="A-1", product="lid", id="1")
        _say(speaker, path=str(pictures / "good.png"), id="2")
        wait_for(lambda: len(records_of(running)) == 2)
        first, second = records_of(running)
        assert (first["verdict"], first["reference"], first["product"]) == ("anomaly", "A-1", "lid")
        assert (second["verdict"], second["reference"]) == ("normal", None)
        assert first["source"] == "mqtt:plc"
        assert speaker.heard == []
        state = running.client.get("/healthz").json()["inputs"][0]
        assert (state["accepted"], state["topic"]) == (2, _TOPIC)


def test_a_message_without_a_path_triggers_the_camera(tmp_path, broker):
    camera = FakeCamera()
    camera.is_streaming = True
    top = {"kind": "camera", "name": "top", "station": "belt", "device": 0, "trigger": "mqtt"}
    tables = (top, _table(broker.port, camera="top"))
    with _listening(tmp_path, broker, *tables, camera=camera) as (running, _, speaker):
        _say(speaker, reference="A-1")
        wait_for(lambda: records_of(running))
        record = records_of(running)[0]
        assert (record["source"], record["reference"]) == ("camera:top", "A-1")
        _say(speaker, path="x.png")
        wait_for(lambda: speaker.heard)
        camera.gone = True
        wait_for(running.daemon.alarms.all)
        _say(speaker, reference="A-2")
        wait_for(lambda: len(records_of(running)) == 2)
        assert records_of(running)[1]["reason"] == "camera_gone"


def test_an_id_is_taken_once_also_after_a_start(tmp_path, broker, pictures):
    table = _table(broker.port, roots=[pictures])
    with _listening(tmp_path, broker, table) as (running, inputs, speaker):
        for name in ("x", "x", "y"):
            _say(speaker, path="good.png", id=name)
        wait_for(lambda: inputs.to_json()[0]["messages"] == 3)
        assert inputs.to_json()[0]["duplicates"] == 1
    with _listening(tmp_path, broker, table) as (running, inputs, speaker):
        for name in ("x", "z"):
            _say(speaker, path="good.png", id=name)
        wait_for(lambda: inputs.to_json()[0]["messages"] == 2)
        assert inputs.to_json()[0]["duplicates"] == 1
        wait_for(lambda: len(records_of(running)) == 3)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"", "JSON: Invalid JSON"),
        (b"\xff\x00", "JSON: Invalid JSON"),
        (b'{"path": "good.png"', "JSON: Invalid JSON"),
        (b"[1]", "JSON: Input should be an object"),
        (b'{"path": 3}', "path: Input should be a valid string"),
        (b'{"path": ""}', "path: String should have at least 1"),
        (b'{"path": "a", "speed": 1}', "speed: Extra inputs"),
        (b'{"reference": "' + b"x" * 201 + b'"}', "reference: String should have at most 200"),
        (b"[" * 10_000, "JSON: Invalid JSON"),
        (b" " * (17 << 10), "17408 bytes; 16384 are allowed"),
    ],
)
def test_what_is_no_trigger_is_told(payload, told):
    with pytest.raises(InputError) as caught:
        read_trigger(payload)
    assert told in str(caught.value)


def test_malformed_and_refused_messages_are_counted_answered_and_survived(
    tmp_path, broker, pictures
):
    (tmp_path / "secret.png").write_bytes(picture())
    table = _table(broker.port, roots=[pictures])
    with _listening(tmp_path, broker, table) as (running, inputs, speaker):
        speaker.say(_TOPIC, b"no JSON")
        _say(speaker, id="7", reference="A-7", path="../secret.png")
        _say(speaker, id="8", path="good.png", product="moon")
        _say(speaker, id="9")
        wait_for(lambda: len(speaker.heard) == 4)
        answers = [json.loads(payload) for _, payload in speaker.heard]
        assert [answer["error"]["kind"] for answer in answers] == [
            "InputError",
            "ForbiddenError",
            "ConfigError",
            "InputError",
        ]
        assert (answers[1]["id"], answers[1]["reference"]) == ("7", "A-7")
        assert "has no camera" in answers[3]["error"]["message"]
        state = inputs.to_json()[0]
        assert (state["malformed"], state["refused"], state["accepted"]) == (1, 3, 0)
        _say(speaker, path="good.png", id="8")  # what was refused may come again
        wait_for(lambda: records_of(running))


def test_a_full_queue_is_told_with_the_time_to_wait(tmp_path, broker, pictures):
    tables = {"daemon": {"state": tmp_path / "state", "min_free_mb": 0, "queue_size": 1}}
    table = _table(broker.port, roots=[pictures])
    with _listening(tmp_path, broker, table, **tables) as (running, _, speaker):
        running.worker.gate.clear()
        for _ in range(3):
            _say(speaker, path="good.png")
        wait_for(lambda: speaker.heard)
        error = json.loads(speaker.heard[0][1])["error"]
        assert error["kind"] == "QueueFullError"
        assert error["retry_after_s"] > 0
        running.worker.gate.set()
        wait_for(lambda: len(records_of(running)) == 2)


def test_a_retained_trigger_is_not_taken(tmp_path, broker, pictures):
    speaker = Speaker(broker.port, _ERRORS)
    speaker.say(_TOPIC, json.dumps({"path": "good.png"}), retain=True)
    with daemon_with(tmp_path, _table(broker.port, roots=[pictures])) as (running, _):
        wait_for(lambda: speaker.heard)
        assert "must not be retained" in speaker.heard[0][1].decode()
        assert records_of(running) == []
    speaker.close()


def test_a_broker_that_goes_is_an_alarm_and_comes_back(tmp_path, broker, pictures):
    table = _table(broker.port, roots=[pictures])
    with _listening(tmp_path, broker, table) as (running, _, _speaker):
        broker.stop()
        wait_for(running.daemon.alarms.all)
        (alarm,) = running.daemon.alarms.all()
        assert (alarm.name, alarm.stops_line) == ("mqtt:plc", False)
        broker.start()
        wait_for(lambda: not running.daemon.alarms.all())
        again = Speaker(broker.port)
        again.say(_TOPIC, json.dumps({"path": "good.png"}))
        wait_for(lambda: records_of(running))
        again.close()


def test_a_broker_that_was_never_there_is_an_alarm(tmp_path, pictures):
    with daemon_with(tmp_path, _table(1, roots=[pictures])) as (running, _):
        wait_for(lambda: "can't be reached" in str(running.daemon.alarms.all()))
        assert running.client.get("/readyz").status_code == 200


def test_with_a_session_messages_wait_while_the_daemon_is_away(tmp_path, broker, pictures):
    table = _table(broker.port, roots=[pictures], session_s=600)
    with _listening(tmp_path, broker, table):
        pass
    speaker = Speaker(broker.port)
    speaker.say(_TOPIC, json.dumps({"path": "bad.png", "id": "late"}))
    speaker.close()
    with daemon_with(tmp_path, table) as (running, _):
        wait_for(lambda: records_of(running))
        assert records_of(running)[0]["verdict"] == "anomaly"


def test_user_and_password(tmp_path, pictures):
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    settings = ("allow_anonymous false", f"password_file {passwords}")
    with running_broker(tmp_path, *settings) as broker:
        table = _table(broker.port, roots=[pictures])
        table["broker"] |= {"user": "line", "password_file": password}
        with daemon_with(tmp_path, table) as (running, _):
            wait_for(lambda: "refuses" in str(running.daemon.alarms.all()))
            assert "sesame" not in str(running.daemon.alarms.all())


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"user": "a", "password_file": "missing"}, "No such file"),
        ({"user": "a", "password_file": "empty"}, "must be the password"),
        ({"tls": True, "ca": "missing"}, "No such file"),
    ],
)
def test_files_of_the_access_that_cannot_be_used(tmp_path, keys, told):
    (tmp_path / "empty").touch()
    placed = {
        name: tmp_path / value if name in ("password_file", "ca") else value
        for name, value in keys.items()
    }
    with pytest.raises(ConfigError, match=told):
        BrokerClient(BrokerSettings(host="broker", **placed), client_id="x")
