"""The ways out of a whole daemon whose worker is a fake."""

from __future__ import annotations

import json
import multiprocessing
import threading

import pytest
from outputs_bench import station_file, until

from adcopilot_edge.runtime.daemon import station
from adcopilot_edge.runtime.daemon.messages import Done, Ready, Stop
from adcopilot_edge.runtime.daemon.station import StationDaemon


class FakeWorker:
    """Answers each job at once, in a thread in place of a process."""

    def __init__(self, setup):
        self.setup = setup
        self.connection = None

    def start(self):
        self.connection, there = multiprocessing.Pipe()
        self._thread = threading.Thread(target=self._run, args=(there,), daemon=True)
        self._thread.start()

    def _run(self, there):
        there.send(Ready(bundle="a bundle", engine="cpu fp32"))
        while not isinstance(job := there.recv(), Stop):
            there.send(Done(number=job.number, problem="as the test says"))
        there.close()

    def send(self, message):
        self.connection.send(message)

    def receive(self):
        return self.connection.recv()

    def stop(self):
        self.send(Stop())
        self._thread.join()
        self.connection.close()

    kill = stop


@pytest.fixture
def settings(tmp_path):
    known = station_file(
        {"name": "days", "kind": "file", "folder": tmp_path / "records"},
        {"name": "again", "kind": "file", "folder": tmp_path / "again"},
        products=[{"name": "lid", "outputs": ["days"]}],
    )
    daemon = known.daemon.model_copy(update={"state": tmp_path / "state", "min_free_mb": 0})
    return known.model_copy(update={"daemon": daemon})


def test_a_part_goes_out_by_the_outputs_of_its_product(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(station, "Worker", FakeWorker)
    daemon = StationDaemon(settings)
    daemon.start()
    until(lambda: daemon.life.is_ready)

    record = daemon.submit(b"a part", source="http").done.result(10)
    until(lambda: list((tmp_path / "records").glob("*/*.json")))
    daemon.line.drain(5)
    daemon.stop()

    (path,) = (tmp_path / "records").glob("*/*.json")
    told = json.loads(path.read_text())
    assert {key: told[key] for key in record.to_json()} == record.to_json()
    assert told["seq"] == record.id
    assert not list((tmp_path / "again").glob("*/*"))
    outputs = daemon.to_json()["outputs"]
    assert (outputs["days"]["sent"], outputs["again"]["sent"]) == (1, 0)


def test_parts_that_a_kill_interrupted_go_out_after_the_next_start(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(station, "Worker", FakeWorker)
    first = StationDaemon(settings)
    first.journal.write(
        lambda connection: connection.execute(
            "INSERT INTO parts (id, station, product, source, reference, received_at,"
            " image_sha256) VALUES (7, 'belt', 'lid', 'http', NULL, 0, 'x')"
        )
    ).result()
    first.journal.close()
    first.folder.close()

    second = StationDaemon(settings)
    assert second.interrupted == 1
    second.start()
    until(lambda: list((tmp_path / "records").glob("1970-01-01/000000007.json")))
    until(lambda: second.life.is_ready)
    second.line.drain(5)
    second.stop()


def test_a_plc_is_told_not_ready_once_the_line_has_ended(settings, monkeypatch):
    monkeypatch.setattr(station, "Worker", FakeWorker)
    daemon = StationDaemon(settings)
    assert not daemon._probe().is_ready
    daemon.start()
    until(lambda: daemon._probe().is_ready)
    daemon.alarms.set("disk", "full", stops_line=True)
    assert not daemon._probe().is_ready
    daemon.alarms.set("disk", None)
    daemon.line.drain(5)
    daemon.line.join()
    assert not daemon._probe().is_ready
    daemon.stop()
