"""A real process with a folder, killed at random moments: one final record for each file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from daemon_fakes import picture
from input_cases import wait_for

from adcopilot_edge.runtime.daemon.journal import Journal

_KILLS = int(os.environ.get("FOLDER_KILLS", "2"))  # a longer trial sets more
_FILES_A_LIFE = 12


class _Daemons:
    """Starts daemons one after another, and kills them."""

    def __init__(self, folder: Path, after: str) -> None:
        program = Path(__file__).with_name("folder_daemon.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program), str(folder), after],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def start(self) -> int:
        """Start one; its process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End what starts them."""
        self._process.communicate(timeout=20.0)


def _kill(number: int) -> None:
    os.kill(number, signal.SIGKILL)
    stat = Path(f"/proc/{number}")
    wait_for(lambda: not stat.exists())


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("after", ["move", "leave"])
def test_one_record_for_each_file(tmp_path, after):
    daemons = _Daemons(tmp_path, after)
    try:
        _check(tmp_path, daemons, after)
    finally:
        daemons.close()


def _check(folder: Path, daemons: _Daemons, after: str) -> None:
    rng = random.Random(7)
    box = folder / "box"
    box.mkdir()
    names = []
    content = picture()
    for life in range(_KILLS):
        process = daemons.start()
        for number in range(_FILES_A_LIFE):
            name = f"{life:03d}-{number:03d}.png"
            names.append(name)
            (box / f".{name}").write_bytes(content)
            (box / f".{name}").rename(box / name)
        time.sleep(rng.uniform(0.0, 0.4))
        _kill(process)
    process = daemons.start()
    journal = Journal(folder / "state" / "journal.sqlite")
    query = "SELECT reference FROM parts WHERE verdict IS NOT NULL ORDER BY reference"
    wait_for(lambda: len({row["reference"] for row in journal.read(query)}) == len(names))
    if after == "move":
        wait_for(lambda: not [*box.glob("*.png")] and [*(box / ".work").glob("*")] == [_lock(box)])
    time.sleep(0.2)  # in which a file that was forgotten would be inspected again
    _kill(process)
    assert [row["reference"] for row in journal.read(query)] == names
    assert journal.open_parts() == []
    journal.close()


def _lock(box: Path) -> Path:
    return box / ".work" / "lock"
