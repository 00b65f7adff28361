"""The tables ``inputs`` of a station file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from daemon_fakes import picture

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.daemon.inputs.settings import (
    CameraSettings,
    FolderSettings,
    MqttSettings,
)
from adcopilot_edge.runtime.daemon.station_file import read_station_file

_BASE = """
[daemon]
state = "state"
[[stations]]
name = "belt"
product = "cap"
[[products]]
name = "cap"
goldens = ["golden.png"]
"""
_FOLDER = """
[[inputs]]
kind = "folder"
name = "in"
station = "belt"
path = "in"
"""
_CAMERA = """
[[inputs]]
kind = "camera"
name = "top"
station = "belt"
"""
_MQTT = """
[[inputs]]
kind = "mqtt"
name = "plc"
station = "belt"
broker = { host = "broker" }
"""


def _read(folder: Path, text: str):
    (folder / "golden.png").write_bytes(picture())
    path = folder / "station.toml"
    path.write_text(_BASE + text)
    return read_station_file(path)


def test_each_kind_is_read_and_paths_are_from_the_file(tmp_path):
    inputs = _read(
        tmp_path,
        _FOLDER
        + _CAMERA
        + 'device = 0\ntrigger = "mqtt"\n'
        + _MQTT.replace('{ host = "broker" }', '{ host = "b", tls = true, ca = "ca.pem" }')
        + 'camera = "top"\nroots = ["pictures"]\n',
    ).inputs
    assert [item.source for item in inputs] == ["folder:in", "camera:top", "mqtt:plc"]
    assert inputs[0].path == tmp_path / "in"
    assert inputs[1].device == 0
    assert inputs[2].roots == (tmp_path / "pictures",)
    assert inputs[2].broker.ca == tmp_path / "ca.pem"
    assert inputs[2].broker.port_in_use == 8883


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_FOLDER + "speed = 3\n", "inputs.0.folder.speed: Extra inputs"),
        (_FOLDER.replace('"folder"', '"ftp"'), "'folder', 'camera', 'mqtt'"),
        (_FOLDER.replace('"belt"', '"oven"'), "has the station oven, which is not among belt"),
        (_FOLDER + _FOLDER, "there are two inputs named in"),
        (_FOLDER + _FOLDER.replace('name = "in"', 'name = "in2"'), "two inputs watch"),
        (_FOLDER + 'product_pattern = "("\n', "no regular expression"),
        (_FOLDER + 'product_pattern = "(.*)"\n', "must have a group"),
        (_FOLDER + "product_pattern = '(?P<product>.)(?P<lot>.)'\n", "must have a group"),
        (_FOLDER + 'suffixes = ["png"]\n', "no suffix as '.png'"),
        (_FOLDER + "suffixes = []\n", "no file would count"),
        (_FOLDER + "settle_s = 0\n", "greater than 0"),
        (_FOLDER + "settle_s = nan\n", "finite"),
        (_CAMERA, "give one of device, url and pipeline"),
        (_CAMERA + 'device = 0\nurl = "rtsp://x"\n', "give one of device, url and pipeline"),
        (_CAMERA + 'device = 0\ntrigger = "interval"\n', "interval_s goes with"),
        (_CAMERA + "device = 0\ninterval_s = 1\n", "interval_s goes with"),
        (_CAMERA + "device = 0\nlatency_ms = 1000\n", "must be more than latency_ms"),
        (_MQTT, "give roots, a camera, or both"),
        (_MQTT + 'camera = "top"\n', "has the camera top, which is no camera of the station"),
        (_CAMERA + "device = 0\n" + _MQTT + 'camera = "top"\n', "with trigger = 'mqtt'"),
        (_MQTT + 'roots = ["r"]\nprefix = "a/#"\n', "prefix"),
        (_MQTT + 'roots = ["r"]\ncamera = "top"\nsession_s = 9\n', "session_s must be 0"),
        (_MQTT.replace('"broker" }', '"b", ca = "x" }'), "with tls = true only"),
        (_MQTT.replace('"broker" }', '"b", password_file = "x" }'), "needs a user"),
        (_MQTT.replace('"broker" }', '"b", tls = true, key = "x" }'), "come together"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, text, told):
    with pytest.raises(ConfigError, match=r"station\.toml") as caught:
        _read(tmp_path, text)
    assert told in str(caught.value)


def test_the_examples_of_the_document_are_read(tmp_path, repository):
    document = (repository / "docs" / "inputs.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", document, re.DOTALL)
    folder, pattern, camera, messages = blocks
    found = _read(tmp_path, folder + pattern + camera.replace('"http" ', '"mqtt" ') + messages)
    assert [item.kind for item in found.inputs] == ["folder", "camera", "mqtt"]
    assert re.compile(found.inputs[0].product_pattern).fullmatch("lid-0042.png")["product"] == "lid"
    for kind in (FolderSettings, CameraSettings, MqttSettings):
        for name in kind.model_fields.keys() - {"kind", "name", "station", "path"}:
            assert name in document, f"docs/inputs.md does not name {name}"
