"""Each file has exactly one final record, wherever a kill comes between two steps.

A kill is played by ending the input's thread at a step and starting another daemon on a copy of the
state folder, as it was then.
"""

from __future__ import annotations

import shutil
import threading

import pytest
from daemon_fakes import picture
from input_cases import daemon_with, folder_table, records_of, wait_for

from adcopilot_edge.runtime.daemon.inputs.folder import FolderInput
from adcopilot_edge.runtime.daemon.inputs.seen_files import SeenFiles
from adcopilot_edge.runtime.daemon.inputs.work_folder import WorkFolder
from adcopilot_edge.runtime.daemon.station import StationDaemon

# The end of the thread is what is tested.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception in thread folder:pytest.PytestUnhandledThreadExceptionWarning"
)
_NAMES = ["a.png", "b.png", "c.png"]


class _Kill:
    """Ends the thread that makes the n-th call of a method, before or after the call."""

    def __init__(self, monkeypatch, owner, method, *, is_after, call):
        self.came = threading.Event()
        self._left = call
        real = getattr(owner, method)

        def wrapped(this, *args, **options):
            self._left -= 1
            if self._left == 0 and not is_after:
                self._die()
            result = real(this, *args, **options)
            if self._left == 0 and is_after:
                self._die()
            return result

        monkeypatch.setattr(owner, method, wrapped)

    def _die(self):
        self.came.set()
        raise SystemExit


@pytest.fixture
def box(tmp_path):
    folder = tmp_path / "box"
    folder.mkdir()
    for name in _NAMES:  # equal pictures, so that only names tell them apart
        (folder / name).write_bytes(picture())
    return folder


def _records_after_a_kill(tmp_path, box, monkeypatch, kill, table, *, is_held):
    """The records by reference once a second daemon has done what the first one left."""
    with daemon_with(tmp_path, table) as (running, inputs):
        if is_held:
            running.worker.gate.clear()
        assert kill.came.wait(20.0)
        assert inputs.all[0].join(20.0)
        running.daemon.journal.set_fact("a", 1).result()  # acceptances are on the disk by now,
        if not is_held:
            wait_for(lambda: not running.daemon.journal.open_parts())  # and their records too
        (tmp_path / "later").mkdir()
        shutil.copytree(tmp_path / "state", tmp_path / "later" / "state")
        inputs.all[0]._claims.close()
        monkeypatch.undo()
    with daemon_with(tmp_path / "later", table) as (running, inputs):
        wait_for(lambda: {record["reference"] for record in records_of(running)} == {*_NAMES})
        wait_for(lambda: inputs.to_json()[0]["waiting"] == inputs.to_json()[0]["in_flight"] == 0)
        for _ in range(3):  # looks at the folder, which must find nothing more
            before = inputs.all[0]._scan_at
            wait_for(lambda before=before: inputs.all[0]._scan_at > before)
        return records_of(running)


_STEPS = [
    (WorkFolder, "take", True),
    (WorkFolder, "note", False),
    (WorkFolder, "note", True),
    (StationDaemon, "submit", True),
    (FolderInput, "_follow", True),
    (WorkFolder, "settle", False),
    (WorkFolder, "drop", False),
    (WorkFolder, "drop", True),
]


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize(("owner", "method", "is_after"), _STEPS)
def test_moved_files(tmp_path, box, monkeypatch, owner, method, is_after, call):
    kill = _Kill(monkeypatch, owner, method, is_after=is_after, call=call)
    records = _records_after_a_kill(
        tmp_path, box, monkeypatch, kill, folder_table(box), is_held=False
    )
    assert sorted(record["reference"] for record in records) == _NAMES
    assert [path.name for path in (box / ".work").iterdir()] == ["lock"]
    assert sorted(path.name for path in (box / "done").iterdir()) == _NAMES


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize(
    ("owner", "method", "is_after"),
    [
        (SeenFiles, "take", True),
        (SeenFiles, "note", False),
        (SeenFiles, "note", True),
        (StationDaemon, "submit", True),
        (SeenFiles, "settle", False),
        (SeenFiles, "settle", True),
    ],
)
def test_files_that_are_left(tmp_path, box, monkeypatch, owner, method, is_after, call):
    kill = _Kill(monkeypatch, owner, method, is_after=is_after, call=call)
    table = folder_table(box, after="leave")
    records = _records_after_a_kill(tmp_path, box, monkeypatch, kill, table, is_held=False)
    assert sorted(record["reference"] for record in records) == _NAMES
    assert sorted(path.name for path in box.iterdir()) == _NAMES, "nothing is written there"


@pytest.mark.parametrize("after", ["move", "delete", "leave"])
def test_a_part_that_was_inspected_at_the_kill_ends_as_interrupted(
    tmp_path, box, monkeypatch, after
):
    kill = _Kill(monkeypatch, FolderInput, "_follow", is_after=True, call=2)
    table = folder_table(box, after=after)
    records = _records_after_a_kill(tmp_path, box, monkeypatch, kill, table, is_held=True)
    reasons = {record["reference"]: record["reason"] for record in records}
    assert sorted(record["reference"] for record in records) == _NAMES
    assert reasons == {"a.png": "interrupted", "b.png": "interrupted", "c.png": None}
    if after == "move":
        assert sorted(path.name for path in (box / "rejected").iterdir()) == ["a.png", "b.png"]


def test_two_files_of_one_name_and_content_are_two_parts_after_a_kill(tmp_path, box, monkeypatch):
    """The first was accepted, the second taken only; neither note nor name tells them apart."""
    for name in _NAMES[1:]:
        (box / name).unlink()
    kill = _Kill(monkeypatch, WorkFolder, "take", is_after=True, call=2)
    table = folder_table(box)
    with daemon_with(tmp_path, table) as (running, inputs):
        running.worker.gate.clear()
        wait_for(lambda: running.worker.jobs)
        (box / "a.png").write_bytes(picture())
        assert kill.came.wait(20.0)
        assert inputs.all[0].join(20.0)
        running.daemon.journal.set_fact("a", 1).result()
        (tmp_path / "later").mkdir()
        shutil.copytree(tmp_path / "state", tmp_path / "later" / "state")
        inputs.all[0]._claims.close()
        monkeypatch.undo()
    with daemon_with(tmp_path / "later", table) as (running, _):
        wait_for(lambda: len(records_of(running)) == 2)
        wait_for((box / "done" / "a.png").exists)
        assert [record["reason"] for record in records_of(running)] == ["interrupted", None]
        assert [path.name for path in (box / "rejected").iterdir()] == ["a.png"]


def test_left_files_are_known_after_a_start_until_they_change(tmp_path, box):
    table = folder_table(box, after="leave")
    with daemon_with(tmp_path, table) as (running, _):
        wait_for(lambda: len(records_of(running)) == 3)
    with daemon_with(tmp_path, table) as (running, inputs):
        (box / "b.png").write_bytes(picture("anomaly"))
        wait_for(lambda: len(records_of(running)) == 4)
        assert inputs.to_json()[0]["accepted"] == 1
        assert records_of(running)[3]["reference"] == "b.png"
        assert records_of(running)[3]["verdict"] == "anomaly"


def test_a_left_file_that_changes_while_it_is_inspected_is_two_parts(tmp_path, box):
    with daemon_with(tmp_path, folder_table(box, after="leave")) as (running, inputs):
        wait_for(lambda: len(records_of(running)) == 3)
        running.worker.gate.clear()
        (box / "a.png").write_bytes(picture("anomaly", size=40))
        wait_for(lambda: len(running.worker.jobs) == 4)
        (box / "a.png").write_bytes(picture("uncertain", size=48))
        wait_for(lambda: inputs.to_json()[0]["in_flight"] == 2)
        running.worker.gate.set()
        wait_for(lambda: len(records_of(running)) == 5)
    with daemon_with(tmp_path, folder_table(box, after="leave")) as (running, inputs):
        wait_for(lambda: inputs.all[0]._scan_at > 0)
        assert [record["verdict"] for record in records_of(running)[3:]] == ["anomaly", "uncertain"]
