"""``/metrics``: what is counted, and that two daemons do not share it."""

from __future__ import annotations

import time

import pytest
from daemon_fakes import picture, running_daemon
from prometheus_client.parser import text_string_to_metric_families

from adcopilot_edge import __version__


@pytest.fixture
def running(tmp_path):
    with running_daemon(tmp_path) as running:
        yield running


def samples(running):
    """Every sample by its name and labels."""
    reply = running.client.get("/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def counted(running, number):
    """The samples once that many parts are counted: it is done behind the reply."""
    end = time.monotonic() + 20
    while True:
        found = samples(running)
        if found.get(("adcopilot_stage_seconds_count", "part")) == number:
            return found
        assert time.monotonic() < end
        time.sleep(0.005)


def test_parts_by_station_product_verdict_and_reason(running):
    for image in (picture("normal"), picture("anomaly"), picture("anomaly"), b"no picture"):
        running.client.post("/v1/inspect", files={"image": image})
    running.client.post("/v1/inspect", files={"image": picture()}, data={"product": "lid"})
    found = counted(running, 5)
    parts = {key[1:]: value for key, value in found.items() if key[0] == "adcopilot_parts_total"}
    assert parts == {
        ("", "belt", "cap", "normal"): 1,
        ("", "anomaly", "belt", "cap"): 2,
        ("belt", "cap", "image_unusable", "uncertain"): 1,
        ("", "belt", "lid", "normal"): 1,
    }
    assert found["adcopilot_parts_accepted_total",] == 5
    assert found["adcopilot_stage_seconds_count", "vision"] == 4
    assert found["adcopilot_stage_seconds_sum", "prefill"] == pytest.approx(4 * 0.0025)
    assert found["adcopilot_stage_seconds_count", "queue"] == 5
    assert found["adcopilot_journal_commit_seconds_count",] >= 5


def test_state_build_and_process(running):
    found = samples(running)
    assert found["adcopilot_state", "ready"] == 1
    assert found["adcopilot_state", "draining"] == 0
    assert found["adcopilot_build_info", __version__, "cpu fp32", "fake-bundle"] == 1
    assert found["adcopilot_queue_parts",] == 0
    assert found["adcopilot_queue_size_parts",] == 8
    assert found["process_resident_memory_bytes",] > 0
    assert ("adcopilot_alarm", "disk", "true") not in found


def test_alarms_refusals_restarts_and_late_results(tmp_path):
    stations = [{"name": "belt", "product": "cap", "takt_ms": 100}]
    with running_daemon(tmp_path, stations=stations) as running:
        running.daemon.alarms.set("camera", "it is gone")
        running.worker.gate.clear()
        running.client.post("/v1/inspect", files={"image": picture()})
        running.worker.gate.set()
        running.worker.die()
        running.client.post("/v1/inspect", files={"image": picture()})
        running.daemon.alarms.set("disk", "it is full", stops_line=True)
        running.client.post("/v1/inspect", files={"image": picture()})
        found = counted(running, 2)
        assert found["adcopilot_alarm", "camera", "false"] == 1
        assert found["adcopilot_alarm", "disk", "true"] == 1
        assert found["adcopilot_parts_refused_total", "not_ready"] == 1
        assert found["adcopilot_parts_refused_total", "queue_full"] == 0
        assert found["adcopilot_late_results_total",] == 1
        assert found["adcopilot_worker_restarts_total",] == 1
        assert found["adcopilot_parts_total", "belt", "cap", "takt_overrun", "uncertain"] >= 1


def test_two_daemons_count_apart(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with running_daemon(tmp_path / "one") as one, running_daemon(tmp_path / "two") as two:
        one.client.post("/v1/inspect", files={"image": picture()})
        assert counted(one, 1)["adcopilot_parts_accepted_total",] == 1
        assert samples(two)["adcopilot_parts_accepted_total",] == 0
