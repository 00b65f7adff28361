"""What is looked after beside the parts: the clock, the disk, old images and old records."""

from __future__ import annotations

import os
import time
from contextlib import closing

import pytest
from line_cases import SOON_S, wait_until

from adcopilot_edge.errors import StateFolderError
from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.care import Care
from adcopilot_edge.runtime.daemon.clock_watch import ClockWatch
from adcopilot_edge.runtime.daemon.image_store import ImageStore
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.part import FinalRecord
from adcopilot_edge.runtime.daemon.state_folder import StateFolder
from adcopilot_edge.runtime.daemon.station_file import DaemonSettings, ImageSettings

PNG = b"\x89PNG" + b"x" * 100_000


def record(number, verdict="normal"):
    return FinalRecord(
        id=number,
        station="belt",
        product="cap",
        source="test",
        reference=None,
        received_at=1.0,
        finished_at=2.0,
        verdict=verdict,
    )


def store(folder, **settings):
    return ImageStore(folder, ImageSettings(**settings), Alarms())


@pytest.mark.parametrize(
    ("keep", "share", "kept"),
    [
        ("all", 0.0, ["normal", "anomaly", "uncertain"]),
        ("none", 1.0, []),
        ("defects", 0.0, ["anomaly", "uncertain"]),
        ("defects", 1.0, ["normal", "anomaly", "uncertain"]),
        ("sampled", 0.0, []),
        ("sampled", 1.0, ["normal", "anomaly", "uncertain"]),
    ],
)
def test_images_are_kept_by_policy(tmp_path, keep, share, kept):
    images = store(tmp_path, keep=keep, sample_share=share)
    verdicts = ("normal", "anomaly", "uncertain")
    assert [
        verdict
        for number, verdict in enumerate(verdicts)
        if images.keep(record(number, verdict), PNG)
    ] == kept


def test_an_image_that_can_not_be_written_is_an_alarm_and_no_more(tmp_path):
    (tmp_path / "000000").write_text("in the way")
    alarms = Alarms()
    images = ImageStore(tmp_path, ImageSettings(keep="all"), alarms)
    assert images.keep(record(1), PNG) is None
    (alarm,) = alarms.all()
    assert (alarm.name, alarm.stops_line) == ("images", False)
    (tmp_path / "000000").unlink()
    assert images.keep(record(2), PNG) == "000000/000000002.png"
    assert alarms.all() == []


def test_the_oldest_images_go_when_there_are_too_many(tmp_path):
    images = store(tmp_path, keep="all", max_mb=1, max_age_days=0)
    names = [images.keep(record(number), PNG) for number in range(990, 1010)]
    removed = images.prune()
    assert removed == names[:10]
    assert images.prune() == []
    assert not (tmp_path / "000000").exists()
    again = store(tmp_path, keep="all", max_mb=1, max_age_days=0)  # counts what it finds
    again.keep(record(1010), PNG)
    assert again.prune() == [names[10]]


def test_images_that_are_too_old_go_unless_the_clock_is_not_to_be_trusted(tmp_path):
    images = store(tmp_path, keep="all", max_age_days=1.0, max_mb=0)
    names = [images.keep(record(number), PNG) for number in range(3)]
    for name in names[:2]:
        os.utime(tmp_path / name, (time.time() - 90_000,) * 2)
    assert images.prune(by_age=False) == []
    assert images.prune() == names[:2]


def test_pruning_looks_at_the_oldest_folder_alone(tmp_path, monkeypatch):
    images = store(tmp_path, keep="all", max_mb=1)
    for number in range(0, 20_000, 1000):
        images.keep(record(number), b"\x89PNG")
    images.prune()
    listed = []
    real = type(tmp_path).iterdir

    def listing(path):
        listed.append(path)
        return real(path)

    monkeypatch.setattr(type(tmp_path), "iterdir", listing)
    images.prune()
    assert listed == [tmp_path, tmp_path / "000000"]


def test_a_clock_that_went_back_is_told_until_it_has_caught_up():
    now = {"wall": 1000.0, "steady": 0.0}
    watch = ClockWatch(None, wall=lambda: now["wall"], steady=lambda: now["steady"])
    assert watch.look() is None
    now["wall"] = 999.0
    assert watch.look() is None
    now["wall"] = 500.0
    assert "the clock went back by 500 s" in watch.look()
    now["wall"] = 1001.0
    assert watch.look() is None
    now["wall"] = 100.0
    assert watch.look() is not None
    now["steady"] = 4000.0
    assert watch.look() is None  # that is the time now
    assert watch.look() is None


def test_a_clock_that_is_behind_the_newest_record_is_told_at_the_start():
    assert "went back by 60 s" in ClockWatch(1060.0, wall=lambda: 1000.0).look()


def test_a_second_daemon_is_refused_and_told_who_has_the_folder(tmp_path):
    first = StateFolder(tmp_path / "state")
    with pytest.raises(StateFolderError, match=rf"another daemon \(process {os.getpid()}\)"):
        StateFolder(tmp_path / "state")
    first.close()
    StateFolder(tmp_path / "state").close()


def test_a_folder_that_can_not_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateFolderError, match="can't be used as state folder"):
        StateFolder(tmp_path / "file" / "state")


class Case:
    def __init__(self, path, **settings):
        self.folder = StateFolder(path / "state")
        self.journal = Journal(self.folder.journal)
        self.alarms = Alarms()
        self.images = ImageStore(self.folder.images, ImageSettings(keep="all"), self.alarms)
        self.care = Care(
            folder=self.folder,
            settings=DaemonSettings(state=self.folder.path, **settings),
            journal=self.journal,
            images=self.images,
            alarms=self.alarms,
        )

    def close(self):
        self.care.stop()
        self.journal.close()
        self.folder.close()


def test_a_disk_with_too_little_left_stops_the_line_until_there_is_more(tmp_path, monkeypatch):
    free = {"bytes": 1 << 20}
    usage = type("Usage", (), {"free": property(lambda self: free["bytes"])})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage())
    with closing(Case(tmp_path)) as case:
        case.care.look()
        assert "has 1 MB free, and 200 MB must be" in case.alarms.stopping()
        free["bytes"] = 1 << 30
        case.care.look()
        assert case.alarms.all() == []


def test_what_goes_wrong_in_one_task_is_told_and_stops_no_other(tmp_path, monkeypatch):
    def gone(path):
        raise OSError("no such disk")

    with closing(Case(tmp_path)) as case:
        monkeypatch.setattr("shutil.disk_usage", gone)
        case.care.start()
        wait_until(lambda: bool(case.alarms.all()))
        (alarm,) = case.alarms.all()
        assert (alarm.name, alarm.message) == ("care", "OSError: no such disk")
        monkeypatch.undo()
        case.care.look()
        assert case.alarms.all() == []


def test_records_go_with_their_images_when_they_are_old(tmp_path):
    with closing(Case(tmp_path, keep_records_days=1.0, min_free_mb=0)) as case:
        for number in (1, 2):
            case.journal.write(
                lambda c, number=number: c.execute(
                    "INSERT INTO parts (id, station, product, source, received_at, image_sha256)"
                    " VALUES (?, 'belt', 'cap', 'test', 1, '')",
                    (number,),
                )
            )
            name = case.images.keep(record(number), PNG)
            final = FinalRecord(
                **{
                    **{
                        field: getattr(record(number), field)
                        for field in ("id", "station", "product", "source", "reference")
                    },
                    "received_at": 1.0,
                    "finished_at": 2.0 if number == 1 else time.time(),
                    "verdict": "normal",
                    "image_file": name,
                }
            )
            case.journal.finish(final).result(SOON_S)
        os.utime(case.folder.images / "000000" / "000000001.png", (0, 0))
        case.care.look()
        wait_until(lambda: case.journal.record(1) is None)
        assert case.journal.record(2)["image_file"] == "000000/000000002.png"
        assert not (case.folder.images / "000000" / "000000001.png").exists()
