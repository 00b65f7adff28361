"""Trial: a steady load for a long time; memory, threads, files and times must not grow.

python tests/trial_soak.py --hours 24
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from daemon_process import (
    GOLDEN,
    PART,
    DaemonProcess,
    Load,
    daemon_process,
    percentile,
    show,
    station_toml,
)

_LOOKS = 30
_SHARE_OF_CAPACITY = 0.5


def run(folder: Path, *, seconds: float, least_parts_per_s: float = 2.0) -> dict[str, Any]:
    """Keep a daemon at work; the figures. The first tenth is not counted."""
    images = [GOLDEN.read_bytes(), PART.read_bytes()]
    looks: list[dict[str, float]] = []
    with daemon_process(station_toml(folder)) as daemon:
        daemon.wait_ready()
        probe = Load(daemon.address, images, clients=1)
        probe.start()
        time.sleep(min(60.0, max(3.0, seconds / 10)))
        alone_s = median(answer.seconds for answer in probe.stop())
        period_s = min(alone_s / _SHARE_OF_CAPACITY, 1 / least_parts_per_s)
        load = Load(daemon.address, images, clients=2, period_s=2 * period_s)
        load.start()
        for _ in range(_LOOKS):
            seen = len(load.answers)
            time.sleep(seconds / _LOOKS)
            looks.append(_look(daemon, load, seen))
        answers = load.stop()
        told = daemon.health()
        code = daemon.stop()
    first, last = looks[: _LOOKS // 3], looks[-_LOOKS // 3 :]
    figures: dict[str, Any] = {
        "hours": round(seconds / 3600, 3),
        "parts": len(answers),
        "answered_200": sum(answer.status == 200 for answer in answers),
        "alarms": told["alarms"],
        "worker_restarts": told["counters"]["worker_restarts"],
    }
    for name in looks[0]:
        before, after = (median(look[name] for look in part) for part in (first, last))
        figures[name] = [round(before, 2), round(after, 2)]
        figures[f"{name}_growth_percent"] = round(100 * (after / before - 1), 1) if before else 0.0
    return {**figures, "last_exit_code": code}


def _look(daemon: DaemonProcess, load: Load, seen: int) -> dict[str, float]:
    family = daemon.family()
    recent = [answer.seconds for answer in load.answers[seen:]]
    state = Path(daemon.log).parent / "state"
    return {
        "memory_mb": sum(process.memory_info().rss for process in family) / 2**20,
        "threads": sum(process.num_threads() for process in family),
        "open_files": sum(process.num_fds() for process in family),
        "log_mb": (state / "journal.sqlite-wal").stat().st_size / 2**20,
        "p50_ms": 1000 * percentile(recent, 0.5),
        "p99_ms": 1000 * percentile(recent, 0.99),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        show("soak", run(Path(place), seconds=3600 * given.hours))
