"""docs/outputs.md names every setting, and its examples are taken."""

from __future__ import annotations

import re
import sys

import pytest
from outputs_bench import station_file

from adcopilot_edge.runtime.daemon.outputs import settings
from adcopilot_edge.runtime.daemon.outputs.table import COLUMNS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def document(repository):
    return (repository / "docs/outputs.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "output",
    [
        settings.MqttOutput,
        settings.WebhookOutput,
        settings.FileOutput,
        settings.ModbusOutput,
        settings.OpcUaOutput,
    ],
)
def test_every_setting_is_named(document, output):
    missing = [
        name for name in output.model_fields if name != "kind" and f"`{name}`" not in document
    ]
    assert missing == []


def test_the_examples_are_taken(document):
    examples = [
        output
        for text in re.findall(r"```toml\n(.+?)```", document, re.DOTALL)
        for output in tomllib.loads(text)["outputs"]
    ]
    kinds = {output.kind for output in station_file(*examples).outputs}
    assert kinds == {"mqtt", "webhook", "file", "modbus", "opcua"}


def test_columns_that_need_words_have_them(document):
    assert {"truth", "defects", "text", "timings_ms", "notes"} <= {*COLUMNS}
    for name in ("truth", "defects", "text", "timings_ms", "notes"):
        assert f"`{name}`" in document.split("## Records as a table")[1]
