"""Trial: power cuts at random moments, by copies of the files with the last writes torn.

What was not flushed may be on the disk, half or not at all. The daemon is halted twice in a row;
whatever differs in the write-ahead log is torn at a random byte. What was answered before the
first halt was flushed by then, and must be there.

    python tests/trial_power.py --cuts 200
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from daemon_process import GOLDEN, PART, DaemonProcess, Load, daemon_process, show, station_toml

from adcopilot_edge.runtime.daemon.journal import Journal, interrupted_record

_FILES = ("journal.sqlite", "journal.sqlite-wal")


def run(folder: Path, *, cuts: int, seed: int = 0) -> dict[str, Any]:
    """Cut the power ``cuts`` times; the figures."""
    rng = random.Random(seed)
    torn = answered = open_parts = 0
    with daemon_process(station_toml(folder)) as daemon:
        daemon.wait_ready()
        load = Load(daemon.address, [GOLDEN.read_bytes(), PART.read_bytes()], clients=3)
        load.start()
        for cut in range(cuts):
            time.sleep(rng.uniform(0.0, 0.3))
            first, told = _halted(daemon, folder / "state", load)
            time.sleep(rng.uniform(0.0, 0.1))
            second, _ = _halted(daemon, folder / "state", load)
            copy = folder / f"cut-{cut}"
            copy.mkdir()
            torn += _tear(first, second, copy, rng)
            open_parts += _check(copy / _FILES[0], told)
            answered = len(told)
            shutil.rmtree(copy)
        load.stop()
        code = daemon.stop()
    return {
        "cuts": cuts,
        "with_a_torn_log": torn,
        "answered_parts": answered,
        "answered_and_lost": 0,
        "open_parts_ended_at_start": open_parts,
        "last_exit_code": code,
    }


def _halted(
    daemon: DaemonProcess, state: Path, load: Load
) -> tuple[dict[str, bytes], dict[int, str]]:
    """The files at one moment, and the verdicts that had been answered before it."""
    told = {
        answer.body["id"]: answer.body["verdict"]
        for answer in list(load.answers)
        if answer.status == 200
    }
    process = daemon.family()[0]
    process.suspend()
    try:
        files = {
            name: (state / name).read_bytes() if (state / name).exists() else b"" for name in _FILES
        }
    finally:
        process.resume()
    return files, told


def _tear(
    first: dict[str, bytes], second: dict[str, bytes], copy: Path, rng: random.Random
) -> bool:
    """Write a state between both into ``copy``; whether it is torn.

    A file that changed itself was written behind a flushed log, which stays whole then.
    """
    base, log = _FILES
    before, after = first[log], second[log]
    (copy / base).write_bytes(second[base])
    is_torn = first[base] == second[base] and before != after
    if is_torn:
        same = next(
            (at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]),
            min(len(before), len(after)),
        )
        at = rng.randint(same, len(after))
        rest = before[at:] if rng.random() < 0.5 else rng.randbytes(len(after) - at)
        after = after[:at] + rest
    (copy / log).write_bytes(after)
    return is_torn


def _check(path: Path, told: dict[int, str]) -> int:
    """Open the copy as a start does; the parts that it ends as interrupted."""
    with closing(Journal(path)) as journal:
        rows = journal.open_parts()
        for row in rows:
            journal.finish(interrupted_record(row, time.time())).result()
        found = {row["id"]: row["verdict"] for row in journal.read("SELECT id, verdict FROM parts")}
    assert None not in found.values()
    lost = {number for number, verdict in told.items() if found.get(number) != verdict}
    assert not lost, f"{len(lost)} answered parts are lost: {sorted(lost)[:5]}"
    return len(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        show("power cuts", run(Path(place), cuts=given.cuts, seed=given.seed))
