"""Trial: kill -9 at random moments under load; every accepted part has exactly one final record.

python tests/trial_kill.py --rounds 200
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from daemon_process import (
    GOLDEN,
    PART,
    Answer,
    Load,
    daemon_process,
    percentile,
    show,
    station_toml,
)


def run(folder: Path, *, rounds: int, seed: int = 0) -> dict[str, Any]:
    """Kill a daemon ``rounds`` times; the figures."""
    rng = random.Random(seed)
    images = [GOLDEN.read_bytes(), PART.read_bytes()]
    config = station_toml(folder)
    answers: list[Answer] = []
    starts: list[float] = []
    work: list[float] = []
    ends: list[float] = []
    interrupted = 0
    for _ in range(rounds):
        with daemon_process(config) as daemon:
            starts.append(daemon.wait_ready())
            work.append(daemon.cpu_s())
            interrupted += daemon.health()["counters"]["interrupted_at_start"]
            check(folder / "state", answers)
            load = Load(daemon.address, images, clients=3)
            load.start()
            time.sleep(rng.uniform(0.02, 1.5))
            ends.append(daemon.kill())
            answers += load.stop()
    with daemon_process(config) as daemon:
        starts.append(daemon.wait_ready())
        interrupted += daemon.health()["counters"]["interrupted_at_start"]
        code = daemon.stop()
    parts = check(folder / "state", answers)
    return {
        "rounds": rounds,
        "accepted_parts": parts,
        "answered": sum(answer.status == 200 for answer in answers),
        "cut_off": sum(answer.status == 0 for answer in answers),
        "interrupted": interrupted,
        "without_one_final_record": 0,
        "start_s_p50": round(percentile(starts, 0.5), 2),
        "start_s_max": round(max(starts), 2),
        "start_cpu_s_p50": round(percentile(work, 0.5), 2),
        "all_processes_gone_s_max": round(max(ends), 2),
        "last_exit_code": code,
    }


def check(state: Path, answers: list[Answer]) -> int:
    """Compare the journal with what was answered; the number of parts. Raises AssertionError."""
    if not (state / "journal.sqlite").exists():
        return 0
    with closing(sqlite3.connect(state / "journal.sqlite")) as journal:
        assert journal.execute("PRAGMA quick_check").fetchone() == ("ok",)
        rows = journal.execute("SELECT id, verdict, image_sha256, image_file FROM parts").fetchall()
    verdicts = {row[0]: row[1] for row in rows}
    assert None not in verdicts.values(), "a part has no final record"
    for answer in answers:
        if answer.status == 200:
            number = answer.body["id"]
            assert verdicts.get(number) == answer.body["verdict"], f"part {number} was answered"
    told = [answer.body["id"] for answer in answers if answer.status == 200]
    assert len(told) == len(set(told)), "a number was used twice"
    for number, _, sha256, name in rows:
        if name is not None:
            image = (state / "images" / name).read_bytes()
            assert hashlib.sha256(image).hexdigest() == sha256, f"the image of part {number}"
    return len(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        show("kill -9 under load", run(Path(place), rounds=given.rounds, seed=given.seed))
