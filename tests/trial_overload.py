"""Trial: five times as many parts as can be inspected; each accepted one is answered in its takt.

python tests/trial_overload.py --seconds 600
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from daemon_process import (
    GOLDEN,
    PART,
    Client,
    DaemonProcess,
    Load,
    daemon_process,
    percentile,
    show,
    station_toml,
)

_TURNS = 16
_CLIENTS = 24


def run(folder: Path, *, seconds: float, times: float = 5.0) -> dict[str, Any]:
    """Overload a daemon; the figures."""
    images = [GOLDEN.read_bytes(), PART.read_bytes()]
    with daemon_process(station_toml(folder)) as daemon:
        daemon.wait_ready()
        alone_s = _capacity(daemon, images)
        daemon.stop()
    takt_ms = round(8 * 1000 * alone_s)
    with daemon_process(station_toml(folder, takt_ms=takt_ms)) as daemon:
        daemon.wait_ready()
        _capacity(daemon, images)
        before = _memory_mb(daemon)
        period_s = _CLIENTS * alone_s / times
        load = Load(daemon.address, images, clients=_CLIENTS, period_s=period_s)
        load.start()
        time.sleep(seconds / 2)
        middle = _memory_mb(daemon)
        time.sleep(seconds / 2)
        after = _memory_mb(daemon)
        answers = load.stop()
        counters = daemon.health()["counters"]
        code = daemon.stop()
    accepted = [answer for answer in answers if answer.status == 200]
    verdicts = Counter(answer.body["verdict"] for answer in accepted)
    own_ms = [answer.body["timings_ms"]["part"] for answer in accepted]
    return {
        "seconds": seconds,
        "inspection_ms": round(1000 * alone_s, 1),
        "sent_per_s": round(len(answers) / seconds, 1),
        "asked_times_capacity": round(len(answers) / seconds * alone_s, 2),
        "accepted": len(accepted),
        "refused_429": sum(answer.status == 429 for answer in answers),
        "other_answers": sum(answer.status not in (200, 429) for answer in answers),
        "verdicts": dict(verdicts),
        "reasons": counters["by_reason"],
        "takt_ms": takt_ms,
        "p50_ms": round(1000 * percentile([answer.seconds for answer in accepted], 0.5), 1),
        "p99_ms": round(1000 * percentile([answer.seconds for answer in accepted], 0.99), 1),
        "p99_in_the_daemon_ms": round(percentile(own_ms, 0.99), 1),
        "memory_mb": [before, middle, after],
        "last_exit_code": code,
    }


def _capacity(daemon: DaemonProcess, images: list[bytes]) -> float:
    """The seconds that a part takes when it comes alone."""
    client = Client(daemon.address)
    taken = [client.send(images[turn % 2]).seconds for turn in range(_TURNS)]
    client.close()
    return percentile(taken[_TURNS // 4 :], 0.5)


def _memory_mb(daemon: DaemonProcess) -> float:
    return round(sum(process.memory_info().rss for process in daemon.family()) / 2**20, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--times", type=float, default=5.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        show("overload", run(Path(place), seconds=given.seconds, times=given.times))
