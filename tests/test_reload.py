"""The station file read again while the daemon runs: applied whole, or not at all."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from daemon_fakes import FakeWorker, RunningDaemon, picture

from adcopilot_edge.runtime.daemon.reload import differences
from adcopilot_edge.runtime.daemon.server import Server
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.station_file import read_station_file

FILE = """
[daemon]
state = "state"
min_free_mb = 0
queue_size = 8
[http]
port = 0
[[stations]]
name = "belt"
product = "cap"
[[products]]
name = "cap"
goldens = ["golden.png"]
"""
LID = '[[products]]\nname = "lid"\ngoldens = ["golden.png"]\nthreshold = 0.4\n'


@pytest.fixture
def path(tmp_path):
    (tmp_path / "golden.png").write_bytes(picture(seed=99))
    (tmp_path / "other.png").write_bytes(picture(seed=98))
    path = tmp_path / "station.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def running(path):
    workers = []

    def open_worker(setup):
        workers.append(FakeWorker(setup))
        return workers[0]

    daemon = StationDaemon(read_station_file(path), open_worker, path=path)
    daemon.start()
    running = RunningDaemon(daemon, workers[0])
    running.wait_until("ready")
    yield running
    daemon.line.drain(0.0)
    daemon.stop()


def reload(running):
    return running.client.post("/v1/reload")


def refused(running, status, *words):
    before = running.daemon.settings
    answer = reload(running)
    assert answer.status_code == status, answer.text
    for word in words:
        assert word in answer.json()["error"]["message"]
    assert running.daemon.settings is before


def test_products_takt_and_images_change(running, path):
    path.write_text(
        FILE.replace('product = "cap"\n', 'product = "cap"\ntakt_ms = 250.0\n')
        + LID
        + '[images]\nkeep = "all"\n'
    )
    changes = {it["key"]: (it["before"], it["after"]) for it in reload(running).json()["changes"]}
    assert changes["stations.belt.takt_ms"] == (None, 250.0)
    assert changes["images.keep"] == ("defects", "all")
    assert changes["products.lid"][0] is None
    (taken,) = running.worker.taken
    assert taken.products["lid"].threshold == 0.4
    answer = running.client.post("/v1/inspect", files={"image": picture()}, data={"product": "lid"})
    assert answer.json()["image_file"] is not None
    (entry,) = running.client.get("/v1/audit", params={"limit": 1}).json()["entries"]
    assert (entry["who"], entry["action"]) == ("local", "station_file.reloaded")
    assert "images.keep" in [it["key"] for it in entry["details"]["changes"]]


def test_other_goldens_are_a_new_revision(running, path):
    path.write_text(FILE.replace("golden.png", "other.png"))
    assert reload(running).status_code == 200
    found = running.client.get("/v1/products/cap/goldens").json()
    assert (found["revision"], found["revisions"][1]["made_by"]) == (1, "station file")
    assert [it["state"] for it in found["goldens"]] == ["retired", "in use"]


def test_the_same_file_changes_nothing(running):
    assert reload(running).json() == {"changes": []}


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("queue_size = 8", "queue_size = 9", "daemon.queue_size"),
        ('state = "state"', 'state = "other"', "daemon.state"),
        ("min_free_mb = 0", 'min_free_mb = 0\nbundle = "b"', "daemon.bundle"),
        ("min_free_mb = 0", 'min_free_mb = 0\nprovider = "cuda"', "daemon.provider"),
        ("port = 0", "port = 1", "http.port"),
        ("[http]", '[shadow]\nbundle = "b"\n[http]', "shadow"),
    ],
)
def test_what_needs_a_restart_is_refused_with_all_the_rest(running, path, before, after, key):
    path.write_text(FILE.replace(before, after) + LID)
    refused(running, 422, f"{key} changed, which needs a restart", "nothing was applied")
    assert running.worker.taken == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[daemon", "not valid TOML"),
        (FILE + "colour = 1\n", "products.0.colour"),
        (FILE.replace("golden.png", "gone.png"), "gone.png can't be read"),
        (FILE.replace('product = "cap"', 'product = "cup"'), "has the product cup"),
    ],
)
def test_a_wrong_file_is_refused(running, path, content, words):
    path.write_text(content)
    refused(running, 422, words)


def test_a_file_that_is_gone(running, path):
    path.unlink()
    refused(running, 422, "can't be read")


def test_what_the_worker_refuses(running, path):
    running.worker.problem = "product lid: no"
    path.write_text(FILE + LID)
    refused(running, 422, "product lid: no. Nothing was changed")
    assert running.client.get("/v1/products/lid").status_code == 404


def test_a_product_that_was_chosen_must_stay(running, path):
    path.write_text(FILE + LID)
    reload(running)
    running.client.post("/v1/stations/belt/product", json={"product": "lid"})
    path.write_text(FILE)
    refused(running, 422, "station belt has the product lid now", "choose another one first")


def test_another_product_in_the_file_ends_the_choice(running, path):
    path.write_text(FILE + LID)
    reload(running)
    running.client.post("/v1/stations/belt/product", json={"product": "cap"})
    path.write_text(FILE.replace('product = "cap"', 'product = "lid"') + LID)
    assert reload(running).status_code == 200
    assert running.daemon.product_of("belt") == "lid"


def test_what_the_journal_can_not_keep_is_taken_back(running, path, monkeypatch):
    from concurrent.futures import Future

    from adcopilot_edge.errors import JournalError

    def fail(*words, **details):
        failed: Future[None] = Future()
        failed.set_exception(JournalError("the disk is full"))
        return failed

    monkeypatch.setattr(running.daemon.journal, "decide", fail)
    path.write_text(FILE + LID)
    refused(running, 503, "the disk is full")
    assert [len(it.products) for it in running.worker.taken] == [2, 1]


def test_without_a_file(running):
    running.daemon.path = None
    refused(running, 422, "not started from a station file")


def test_differences_name_the_items(running, path):
    path.write_text(FILE.replace("golden.png", "other.png") + LID)
    found = differences(running.daemon.settings, read_station_file(path))
    assert [item.key for item in found] == ["products.cap.goldens", "products.lid"]


def test_a_signal_reads_the_file_again_and_tells_what_is_wrong(path, monkeypatch):
    monkeypatch.setattr(
        "adcopilot_edge.runtime.daemon.server.StationDaemon",
        lambda settings, path: StationDaemon(settings, FakeWorker, path=path),
    )
    numbers = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    handlers = {number: signal.getsignal(number) for number in numbers}
    server = Server(read_station_file(path), path)
    daemon = server.daemon
    seen = []

    def wait_for(claim):
        end = time.monotonic() + 20
        while not claim():
            assert time.monotonic() < end
            time.sleep(0.005)

    def play():
        wait_for(lambda: daemon.life.is_ready)
        path.write_text(FILE + LID + "colour = 1\n")
        os.kill(os.getpid(), signal.SIGHUP)
        wait_for(daemon.alarms.all)
        seen.append(daemon.alarms.all()[0])
        path.write_text(FILE + LID)
        os.kill(os.getpid(), signal.SIGHUP)
        wait_for(lambda: len(daemon.settings.products) == 2)
        wait_for(lambda: not daemon.alarms.all())
        os.kill(os.getpid(), signal.SIGTERM)

    player = threading.Thread(target=play)
    player.start()
    try:
        assert server.run() == 0
    finally:
        player.join()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert (seen[0].name, seen[0].stops_line) == ("reload", False)
    assert "products.1.colour" in seen[0].message
