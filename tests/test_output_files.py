"""The output ``file``: records and images in a folder by day."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timezone

import pytest
from outputs_bench import QUICK, Bench, station_file, until

from adcopilot_edge.runtime.daemon.outputs import record_files


@pytest.fixture
def settings(tmp_path):
    return station_file(output(tmp_path))


def output(tmp_path, **values):
    return {"name": "days", "kind": "file", "folder": tmp_path / "records", **QUICK, **values}


def kept_image(tmp_path, name="000000/000000001.jpg", content=b"\xff\xd8\xff of a part"):
    path = tmp_path / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name


def moment(words):
    return datetime.fromisoformat(words).replace(tzinfo=timezone.utc).timestamp()


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_a_record_and_its_image_lie_in_the_folder_of_the_day(tmp_path, settings):
    with Bench(tmp_path, settings) as bench:
        name = kept_image(tmp_path)
        bench.finish(received_at=moment("2026-01-31T23:59:59"), image_file=name)
        bench.finish(received_at=moment("2026-02-01T00:00:00"))
        until(lambda: not bench.waiting("days"))

    folder = tmp_path / "records"
    assert names(folder) == [
        "2026-01-31/000000001.jpg",
        "2026-01-31/000000001.json",
        "2026-02-01/000000002.json",
    ]
    record = json.loads((folder / "2026-01-31/000000001.json").read_text())
    assert (record["id"], record["seq"], record["verdict"]) == (1, 1, "normal")
    image = folder / "2026-01-31/000000001.jpg"
    assert image.samefile(tmp_path / "images" / name)  # no second copy of the bytes


def test_without_links_the_image_is_copied(tmp_path, settings, monkeypatch):
    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with Bench(tmp_path, settings) as bench:
        name = kept_image(tmp_path)
        bench.finish(received_at=moment("2026-01-31T12:00:00"), image_file=name)
        until(lambda: not bench.waiting("days"))
    image = tmp_path / "records/2026-01-31/000000001.jpg"
    assert image.read_bytes() == b"\xff\xd8\xff of a part"
    assert not image.samefile(tmp_path / "images" / name)


def test_an_image_that_the_policy_removed_is_left_out(tmp_path, settings):
    with Bench(tmp_path, settings) as bench:
        bench.finish(received_at=moment("2026-01-31T12:00:00"), image_file="000000/000000001.jpg")
        until(lambda: not bench.waiting("days"))
    assert names(tmp_path / "records") == ["2026-01-31/000000001.json"]


def test_images_may_be_left_out(tmp_path):
    with Bench(tmp_path, station_file(output(tmp_path, images=False))) as bench:
        name = kept_image(tmp_path)
        bench.finish(received_at=moment("2026-01-31T12:00:00"), image_file=name)
        until(lambda: not bench.waiting("days"))
    assert names(tmp_path / "records") == ["2026-01-31/000000001.json"]


def test_a_folder_that_can_not_be_written_is_an_alarm_until_it_can(tmp_path, settings):
    (tmp_path / "records").write_text("in the way")
    with Bench(tmp_path, settings) as bench:
        bench.finish(2, received_at=moment("2026-01-31T12:00:00"))
        until(lambda: "records can't be written: File exists" in (bench.alarm("output:days") or ""))
        assert bench.waiting("days") == [1, 2]
        (tmp_path / "records").unlink()
        until(lambda: not bench.waiting("days"))
        until(lambda: bench.alarm("output:days") is None)
    assert len(names(tmp_path / "records")) == 2


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, settings, monkeypatch):
    whole = record_files.atomic_write
    failures = [1, 2]

    def full(path):
        if failures:
            failures.pop()
            raise OSError(28, "No space left on device")
        return whole(path)

    monkeypatch.setattr(record_files, "atomic_write", full)
    with Bench(tmp_path, settings) as bench:
        bench.finish(received_at=moment("2026-01-31T12:00:00"))
        until(lambda: not bench.waiting("days"))
        assert bench.outputs.to_json()["days"]["failed"] == 2
    assert names(tmp_path / "records") == ["2026-01-31/000000001.json"]


def test_a_record_may_lie_elsewhere(tmp_path, settings):
    (tmp_path / "drop").mkdir()

    def beside(message):
        reference = message.record["reference"]
        return None if reference is None else tmp_path / "drop" / f"{reference}.json"

    with Bench(tmp_path, settings, place=beside) as bench:
        bench.finish(received_at=moment("2026-01-31T12:00:00"), reference="p-7")
        bench.finish(received_at=moment("2026-01-31T12:00:00"))
        until(lambda: not bench.waiting("days"))
    assert names(tmp_path / "drop") == ["p-7.json"]
    assert names(tmp_path / "records") == ["2026-01-31/000000002.json"]


def test_old_days_go_and_nothing_that_is_not_ours(tmp_path):
    records = tmp_path / "records"
    for name in ("2020-01-01/000000001.json", "2020-01-01/000000001.jpg", "2020-01-02/notes.txt"):
        (records / name).parent.mkdir(parents=True, exist_ok=True)
        (records / name).write_text("old")
    (records / "2020-01-02/000000002.json").write_text("old")
    (records / "archive").mkdir()
    (records / "archive/000000003.json").write_text("old")
    today = time.strftime("%Y-%m-%d", time.gmtime())

    with Bench(tmp_path, station_file(output(tmp_path, max_age_days=30))) as bench:
        bench.finish()
        until(lambda: not bench.waiting("days"))

    assert names(records) == [
        "2020-01-02/notes.txt",
        f"{today}/000000001.json",
        "archive/000000003.json",
    ]
    assert not (records / "2020-01-01").exists()
