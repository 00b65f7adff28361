"""A watched folder: what becomes of its files, and of what can't be inspected."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from daemon_fakes import picture
from input_cases import daemon_with, folder_table, records_of, wait_for

from adcopilot_edge.runtime.daemon.inputs.inputs import Inputs
from adcopilot_edge.runtime.daemon.inputs.work_folder import WorkFolder


@pytest.fixture
def box(tmp_path):
    folder = tmp_path / "box"
    folder.mkdir()
    return folder


def _put(folder, name, content=None):
    """Put a whole file there by a rename, as a good sender does."""
    draft = folder / f".{name}.tmp"
    draft.write_bytes(picture() if content is None else content)
    os.utime(draft, ns=(0, 10**18))  # the rename is later, however coarse the clock is
    draft.rename(folder / name)


def _lies(folder):
    """Every file below, but for the lock; a folder that goes away meanwhile has none."""
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return sorted(path.relative_to(folder).as_posix() for path in found if path.name != "lock")


def _state(running):
    return running.client.get("/healthz").json()["inputs"][0]


def _counts(running):
    """How many files were finished, and how many ignored."""
    state = _state(running)
    return state["finished"], state["ignored"]


def _by_reference(running):
    return {record["reference"]: record for record in records_of(running)}


def test_files_move_to_where_their_records_say(tmp_path, box):
    _put(box, "before.png")
    with daemon_with(tmp_path, folder_table(box)) as (running, _):
        _put(box, "bad.png", picture("anomaly"))
        _put(box, "unsure.png", picture("uncertain"))
        _put(box, "broken.png", b"no picture")
        (box / "notes.txt").write_text("not mine")
        wait_for(lambda: len(records_of(running)) == 4)
        wait_for(lambda: not (box / "broken.png").exists() and len(_lies(box / ".work")) == 0)
        wait_for(lambda: _counts(running) == (4, 1))
        records = _by_reference(running)
        is_well = _state(running)["is_well"]
    assert _lies(box) == [
        "done/before.png",
        "notes.txt",
        "rejected/bad.png",
        "rejected/unsure.png",
        "unusable/broken.png",
    ]
    assert {name: record["verdict"] for name, record in records.items()} == {
        "before.png": "normal",
        "bad.png": "anomaly",
        "unsure.png": "uncertain",
        "broken.png": "uncertain",
    }
    assert records["broken.png"]["reason"] == "image_unusable"
    assert {record["source"] for record in records.values()} == {"folder:in"}
    assert is_well


def test_a_slowly_written_file_is_taken_whole(tmp_path, box):
    content = picture("anomaly", size=64)
    with daemon_with(tmp_path, folder_table(box, settle_s=0.5)) as (running, _):
        with (box / "slow.png").open("wb", buffering=0) as file:
            for begin in range(0, len(content), len(content) // 6 + 1):
                file.write(content[begin : begin + len(content) // 6 + 1])
                time.sleep(0.1)
                assert running.worker.jobs == []
        wait_for(lambda: records_of(running))
        assert running.worker.jobs[0].image == content
        assert records_of(running)[0]["verdict"] == "anomaly"


def test_a_burst_is_taken_in_order_and_waits_while_the_queue_is_full(tmp_path, box):
    names = [f"{number:03d}.png" for number in range(60)]
    for name in names:
        _put(box, name)
    tables = {"daemon": {"state": tmp_path / "state", "min_free_mb": 0, "queue_size": 1}}
    with daemon_with(tmp_path, folder_table(box, in_flight=8), **tables) as (running, _):
        running.worker.gate.clear()
        wait_for(lambda: running.daemon.line.counters.refused_full)
        running.worker.gate.set()
        wait_for(lambda: len(_lies(box / "done")) == 60)
        assert [record["reference"] for record in records_of(running)] == names


def test_the_same_name_again_is_another_part(tmp_path, box):
    with daemon_with(tmp_path, folder_table(box)) as (running, _):
        for count in (1, 2, 3):
            _put(box, "part.png", picture(seed=count))
            wait_for(lambda count=count: len(_lies(box / "done")) == count)
        ids = [record["id"] for record in records_of(running)]
    assert _lies(box) == [*(f"done/part.part-{number}.png" for number in ids[1:]), "done/part.png"]


def test_two_inspected_names_of_full_length_do_not_meet(tmp_path, box):
    name = "x" * 251 + ".png"
    with daemon_with(tmp_path, folder_table(box)) as (_, __):
        for count in (1, 2):
            (box / name).write_bytes(picture(seed=count))
            wait_for(lambda count=count: len(_lies(box / "done")) == count)
    contents = {path.read_bytes() for path in (box / "done").iterdir()}
    assert contents == {picture(seed=1), picture(seed=2)}


def test_delete_leaves_nothing(tmp_path, box):
    with daemon_with(tmp_path, folder_table(box, after="delete")) as (running, _):
        _put(box, "a.png")
        wait_for(lambda: records_of(running))
        wait_for(lambda: _lies(box) == [])
        wait_for(lambda: [path.name for path in (box / ".work").iterdir()] == ["lock"])
        assert [record["reference"] for record in records_of(running)] == ["a.png"]


def test_the_name_tells_the_product(tmp_path, box):
    table = folder_table(box, product_pattern=r"(?P<product>[a-z]+)-(?P<reference>\d+)\.png")
    with daemon_with(tmp_path, table) as (running, _):
        for name in ("lid-7.png", "moon-8.png", "9.png"):
            _put(box, name)
        wait_for(lambda: len(records_of(running)) == 3)
        wait_for(lambda: len(_lies(box / "unusable")) == 2)
        records = _by_reference(running)
    assert (records["7"]["product"], records["7"]["verdict"]) == ("lid", "normal")
    assert records["8"]["reason"] == records["9.png"]["reason"] == "product_unknown"
    assert "no product 'moon'" in records["8"]["detail"]
    assert records["8"]["verdict"] == "uncertain"
    assert len(running.worker.jobs) == 1


def test_bad_names_are_inspected_and_shown_as_text(tmp_path, box):
    names = [b"new\nline.png", b"\xff\xfe.png", "Teil-ü-부품.png".encode(), b"'; --.png", b" .png"]
    with daemon_with(tmp_path, folder_table(box)) as (running, _):
        for name in names:
            (box / os.fsdecode(name)).write_bytes(picture())
        wait_for(lambda: len(records_of(running)) == 5)
        wait_for(lambda: len(_lies(box / "done")) == 5)
        assert sorted(map(os.fsencode, (box / "done").iterdir())) == sorted(
            os.fsencode(box / "done") + b"/" + name for name in names
        )
        for record in records_of(running):
            record["reference"].encode()


def test_a_file_that_cannot_be_read_or_is_too_large_ends_with_a_reason(tmp_path, box, monkeypatch):
    from adcopilot_edge.runtime.daemon.inputs import picture_file

    def refuse(path, *args, real=os.open):
        if path.name == "locked.png":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args)

    monkeypatch.setattr(picture_file.os, "open", refuse)
    with daemon_with(tmp_path, folder_table(box, max_mb=1)) as (running, _):
        _put(box, "huge.png", bytes((1 << 20) + 1))
        _put(box, "locked.png")
        _put(box, "then.png")
        wait_for(lambda: len(records_of(running)) == 3)
        records = _by_reference(running)
        wait_for(lambda: len(_lies(box / "unusable")) == 2)
    assert records["then.png"]["verdict"] == "normal"
    assert "larger than 1 MB" in records["huge.png"]["detail"]
    assert "locked.png can't be read: Permission denied" in records["locked.png"]["detail"]
    assert records["locked.png"]["reason"] == "image_unusable"
    assert records["locked.png"]["image_sha256"] == ""
    assert records["locked.png"]["image_file"] is None


def test_files_wait_while_no_part_is_taken(tmp_path, box):
    with daemon_with(tmp_path, folder_table(box)) as (running, _):
        running.daemon.alarms.set("disk", "it is full", stops_line=True)
        _put(box, "a.png")
        wait_for(lambda: running.daemon.line.counters.refused_not_ready)
        assert records_of(running) == []
    assert len(_lies(box)) == 1, "it stays for the next start"
    with daemon_with(tmp_path, folder_table(box)) as (running, _):
        wait_for(lambda: records_of(running))
        assert records_of(running)[0]["reference"] == "a.png"


def test_after_a_drain_nothing_is_taken_and_what_was_is_put_away(tmp_path, box):
    with daemon_with(tmp_path, folder_table(box, in_flight=1)) as (running, inputs):
        running.worker.gate.clear()
        _put(box, "a.png")
        _put(box, "b.png")
        wait_for(lambda: running.worker.jobs)
        running.daemon.life.enter("draining")
        running.worker.gate.set()
        assert inputs.join(20.0)
        assert _lies(box) == ["b.png", "done/a.png"]


def test_inputs_open_only_when_the_daemon_is_ready(tmp_path, box):
    _put(box, "a.png")
    with daemon_with(tmp_path, folder_table(box), is_ready_at_once=False) as (running, inputs):
        assert not (box / ".work").exists()
        assert inputs.to_json()[0]["accepted"] == 0
        running.worker.let_start.set()
        wait_for(lambda: records_of(running))


def test_a_folder_that_is_away_is_an_alarm_and_comes_back(tmp_path, box):
    box.rename(tmp_path / "away")
    with daemon_with(tmp_path, folder_table(box)) as (running, inputs):
        wait_for(running.daemon.alarms.all)
        (alarm,) = running.daemon.alarms.all()
        assert (alarm.name, alarm.stops_line) == ("folder:in", False)
        assert str(box) in alarm.message
        assert inputs.to_json()[0]["is_well"] is False
        (tmp_path / "away").rename(box)
        _put(box, "a.png")
        wait_for(lambda: records_of(running))
        wait_for(lambda: not running.daemon.alarms.all())


def test_a_target_that_cannot_be_written_is_an_alarm_and_the_file_waits(tmp_path, box):
    (box / "done").write_text("a file in the way")
    with daemon_with(tmp_path, folder_table(box)) as (running, _):
        _put(box, "a.png")
        wait_for(lambda: "done" in str(running.daemon.alarms.all()))
        (box / "done").unlink()
        wait_for(lambda: _lies(box) == ["done/a.png"])
        wait_for(lambda: not running.daemon.alarms.all())
        assert len(records_of(running)) == 1


def test_a_second_daemon_on_the_folder_is_refused_and_takes_over_later(tmp_path, box):
    other = WorkFolder(box, "move")
    other.recover(lambda claim: None)
    with daemon_with(tmp_path, folder_table(box)) as (running, _):
        _put(box, "a.png")
        wait_for(lambda: "another daemon" in str(running.daemon.alarms.all()))
        assert records_of(running) == []
        other.close()
        wait_for(lambda: records_of(running))


def test_news_of_the_folder_is_enough_without_a_look(tmp_path, box):
    table = folder_table(box, scan_s=3600, settle_s=0.05)
    with daemon_with(tmp_path, table) as (running, _):
        wait_for(lambda: [t for t in threading.enumerate() if t.name == f"watch {box}"])
        time.sleep(0.3)  # until the kernel watches
        (box / "a.png").write_bytes(picture())
        wait_for(lambda: records_of(running))
        assert [record["reference"] for record in records_of(running)] == ["a.png"]


def test_stop_before_the_start_is_fine(tmp_path, box):
    with daemon_with(tmp_path, folder_table(box), is_ready_at_once=False) as (running, inputs):
        inputs.stop()
        assert inputs.join(0.0)
        running.worker.let_start.set()
        running.wait_until("ready")
        assert not (box / ".work").exists()


def test_inputs_over_a_daemon_that_is_ready_open_at_once(tmp_path, box):
    with daemon_with(tmp_path, folder_table(box)) as (_, inputs):
        assert isinstance(inputs, Inputs)
        wait_for((box / ".work").exists)
