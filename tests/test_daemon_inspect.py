"""``/v1/inspect``: what comes in, what goes out, and what is refused."""

from __future__ import annotations

import pytest
from daemon_fakes import picture, running_daemon


@pytest.fixture
def running(tmp_path):
    with running_daemon(tmp_path) as running:
        yield running


@pytest.mark.parametrize("verdict", ["normal", "anomaly", "uncertain"])
def test_a_file_gives_its_final_record(running, verdict):
    reply = running.client.post(
        "/v1/inspect", files={"image": picture(verdict)}, data={"reference": "A-1"}
    )
    record = reply.json()
    assert (reply.status_code, record["verdict"], record["reference"]) == (200, verdict, "A-1")
    assert running.records() == [record]
