"""Kept images inspected again: equal, different, and what is told when something is gone."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import contextmanager

import numpy as np
import pytest
from daemon_fakes import RunningDaemon, station_file
from inspecting_worker import InspectingWorker
from line import save

from adcopilot_edge.runtime.daemon.station import StationDaemon


@contextmanager
def toy_daemon(folder, bundle, images, **product):
    """A daemon of the toy bundle that keeps all images."""
    golden = folder / "lid.png"
    save(images[0], golden)
    settings = station_file(
        folder,
        daemon={"state": folder / "state", "bundle": bundle, "threads": 1, "min_free_mb": 0},
        images={"keep": "all"},
        products=[{"name": "cap", "goldens": [golden], **product}],
    )
    workers = []

    def open_worker(setup):
        workers.append(InspectingWorker(setup))
        return workers[0]

    daemon = StationDaemon(settings, open_worker)
    daemon.start()
    running = RunningDaemon(daemon, workers[0])
    try:
        running.wait_until("ready")
        yield running
    finally:
        daemon.line.drain(0.0)
        daemon.stop()


def send(running, image, **form):
    files = {"image": image if isinstance(image, bytes) else png(image)}
    return running.client.post("/v1/inspect", files=files, data=form).json()


def png(image):
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(20240229)
    blocks = rng.integers(0, 160, (4, 6, 3), dtype=np.uint8)
    golden = blocks.repeat(14, axis=0).repeat(14, axis=1)
    test = golden.copy()
    test[20:34, 30:50] = 255
    return golden, test


@pytest.fixture(scope="module")
def kept(tmp_path_factory, toy_bundle, images):
    """A state folder: two parts of revision 0, one of revision 1, one that is no picture."""
    folder = tmp_path_factory.mktemp("line")
    product = {"threshold": 0.3, "tasks": ["describe"], "max_new_tokens": 4}
    with toy_daemon(folder, toy_bundle.path, images, **product) as running:
        records = [send(running, images[1]), send(running, images[0])]
        other = np.ascontiguousarray(images[0][:, ::-1])
        answer = running.client.post("/v1/products/cap/goldens", files={"image": png(other)})
        golden = answer.json()["id"]
        running.client.post(f"/v1/products/cap/goldens/{golden}/approve")
        records += [send(running, other), send(running, b"no picture")]
        running.client.post("/v1/products/cap/goldens/rollback")
    return folder / "state", records


@pytest.fixture
def state(kept, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(kept[0], tmp_path / "state")


def replayed(cli, state, *words):
    code, out, _ = cli("replay", state, *words, "--threads", 1, "--json")
    return code, [json.loads(line) for line in out.splitlines()]


def refused(cli, state, *words, says, code=7):
    found = cli("replay", state, *words, "--json")
    assert (found[0], says in found[2]) == (code, True), found
    assert json.loads(found[1])["error"]["message"]


def test_records_know_what_they_were_inspected_with(kept):
    recipes = [record["recipe"] for record in kept[1]]
    assert [recipe["golden_revision"] for recipe in recipes] == [0, 0, 1, 1]
    assert recipes[0] == {
        "golden_revision": 0,
        "choose": "nearest",
        "tasks": ["describe"],
        "ask": None,
        "threshold": 0.3,
        "roi": None,
        "tile": False,
        "max_new_tokens": 4,
    }


def test_equal(cli, kept):
    state, records = kept
    ids = [record["id"] for record in records]
    words = [word for number in ids for word in ("--id", number)]
    code, found = replayed(cli, state, *words)
    assert [it["differences"] for it in found] == [[], [], [], []]
    assert (code, [it["id"] for it in found]) == (0, ids)
    assert [it["now"]["verdict"] for it in found] == [record["verdict"] for record in records]
    assert found[0]["now"]["text"] == records[0]["text"]
    assert "describe" in records[0]["text"]


def test_the_last_ones_leave_out_what_was_not_inspected(cli, kept):
    code, found = replayed(cli, kept[0], "--last", 2)
    assert (code, [it["id"] for it in found]) == (0, [2, 3])


def test_it_writes_nothing(cli, state):
    def content():
        files = (path for path in state.rglob("*") if "journal" not in path.name)
        return {path: path.stat().st_mtime_ns for path in files if path.is_file()}

    before = content()
    assert replayed(cli, state, "--id", 1)[0] == 0
    assert content() == before


def test_lines_for_people(cli, kept):
    code, out, _ = cli("replay", kept[0], "--id", 1, "--threads", 1)
    assert code == 0
    assert out.startswith("part 1: equal, ")
    assert out.endswith("1 parts, 0 differ\n")


def alter(state, number, **values):
    """Change values of a record."""
    with sqlite3.connect(state / "journal.sqlite") as connection:
        ((text,),) = connection.execute("SELECT record FROM parts WHERE id = ?", (number,))
        record = {**json.loads(text), **values}
        connection.execute("UPDATE parts SET record = ? WHERE id = ?", (json.dumps(record), number))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"verdict": "uncertain"}, "verdict: uncertain then, "),
        ({"anomaly_score": 0.123}, "anomaly_score: 0.123 then, "),
        ({"anomaly_score": None}, "anomaly_score: None then, "),
        ({"text": {"describe": "other words"}}, "describe: 'other words' then, "),
        (
            {"defects": [{"label": "hole", "bbox_2d": [1, 2, 3, 4], "source": "map"}]},
            "boxes: [('hole', [1, 2, 3, 4])] then, ",
        ),
    ],
)
def test_different(cli, state, values, words):
    alter(state, 1, **values)
    code, (found,) = replayed(cli, state, "--id", 1)
    assert (code, found["equal"]) == (1, False)
    assert found["differences"][0].startswith(words)


def test_a_tolerance(cli, state, kept):
    alter(state, 1, anomaly_score=kept[1][0]["anomaly_score"] + 0.01)
    assert replayed(cli, state, "--id", 1)[0] == 1
    assert replayed(cli, state, "--id", 1, "--tolerance", 0.02)[0] == 0


def test_words_that_the_takt_cut_are_not_compared(cli, state):
    alter(state, 1, text={}, notes=["takt_dropped:describe"])
    code, (found,) = replayed(cli, state, "--id", 1)
    assert (code, found["differences"]) == (0, [])
    assert "describe was cut or left out" in found["remarks"][0]


def test_the_image_was_not_kept(cli, state):
    with sqlite3.connect(state / "journal.sqlite") as connection:
        connection.execute("UPDATE parts SET image_file = NULL WHERE id = 1")
    refused(cli, state, "--id", 1, says="the image of part 1 was not kept")
    (image,) = state.glob("images/*/000000002.png")
    image.write_bytes(b"other")
    refused(cli, state, "--id", 2, says="is not the one of then: its hash differs")
    image.unlink()
    refused(cli, state, "--id", 2, says="the image of part 2 is gone")


def test_a_golden_that_is_gone(cli, state):
    for path in state.glob("goldens/cap/*"):
        path.unlink()
    refused(cli, state, "--id", 1, says="of cap is gone")
    with sqlite3.connect(state / "journal.sqlite") as connection:
        connection.execute("DELETE FROM facts WHERE name = 'goldens:cap'")
    refused(cli, state, "--id", 3, says="revision 1 are not in")


def test_another_bundle(cli, state):
    with sqlite3.connect(state / "journal.sqlite") as connection:
        ((path,),) = connection.execute("SELECT value FROM facts WHERE name = 'bundle_folder'")
    alter(state, 1, bundle="0" * 16)
    refused(cli, state, "--id", 1, says="with --bundle to compare all the same")
    code, (found,) = replayed(cli, state, "--id", 1, "--bundle", json.loads(path))
    assert (code, found["remarks"][0].startswith("bundle: 0000000000000000 then, ")) == (0, True)


def test_parts_that_can_not_be_compared(cli, state):
    refused(cli, state, "--id", 99, says="there is no part 99")
    alter(state, 1, recipe=None, reason="takt_overrun")
    refused(cli, state, "--id", 1, says="part 1 was not inspected (takt_overrun)")
    with sqlite3.connect(state / "journal.sqlite") as connection:
        connection.execute("UPDATE parts SET verdict = NULL WHERE id = 2")
    refused(cli, state, "--id", 2, says="no final record yet")


def test_wrong_words(cli, state, tmp_path):
    refused(cli, tmp_path, "--id", 1, says="is no state folder of a daemon")
    refused(cli, state, says="say which parts", code=2)
    refused(cli, state, "--id", 1, "--last", 2, says="say which parts", code=2)
    (state / "journal.sqlite").write_bytes(b"no database at all, but some bytes")
    refused(cli, state, "--id", 1, says="can't be read")


def test_while_the_daemon_runs(cli, tmp_path, toy_bundle, images):
    with toy_daemon(tmp_path, toy_bundle.path, images) as running:
        number = send(running, images[1])["id"]
        code, (found,) = replayed(cli, tmp_path / "state", "--id", number)
    assert (code, found["equal"]) == (0, True)
